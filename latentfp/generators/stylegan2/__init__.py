"""StyleGAN2, configuration F (Karras et al., CVPR 2020, arXiv 1912.04958), in Flax."""
