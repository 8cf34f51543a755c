"""Marking inside of other programs: each module here is for one of them, and imports none.

>>> dep = lf.open("deployment")
>>> _ = dep.export("alice", "alice.safetensors", format="latents")
>>> mark = lf.integrations.diffusers.Mark("alice.safetensors")
>>> sorted(mark.kwargs)
['callback_on_step_end', 'callback_on_step_end_tensor_inputs']
"""

from latentfp.integrations import diffusers

__all__ = ["diffusers"]
