"""The InceptionV3 of Fréchet distances in PyTorch.

Written from the definition of the layers; tensors have the names of pytorch-fid's file. Two switches turn the
network into torchvision's: whether averages count what lies beyond the edge, and the pool of the last block.
"""

import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, before, after, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Layers by name, and the average over 3×3 places."""

    count_outside = False

    def add(self, name, *sizes, **fields):
        setattr(self, name, Layer(*sizes, **fields))

    def each(self, x, *names):
        for name in names:
            x = getattr(self, name)(x)
        return x

    def average(self, x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=self.count_outside)


class Block5(Block):
    def __init__(self, before, pooled):
        super().__init__()
        self.add("branch1x1", before, 64, 1)
        self.add("branch5x5_1", before, 48, 1)
        self.add("branch5x5_2", 48, 64, 5, padding=2)
        self.add("branch3x3dbl_1", before, 64, 1)
        self.add("branch3x3dbl_2", 64, 96, 3, padding=1)
        self.add("branch3x3dbl_3", 96, 96, 3, padding=1)
        self.add("branch_pool", before, pooled, 1)

    def forward(self, x):
        five = self.each(x, "branch5x5_1", "branch5x5_2")
        three = self.each(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.average(x))], 1)


class Block6a(Block):
    def __init__(self):
        super().__init__()
        self.add("branch3x3", 288, 384, 3, stride=2)
        self.add("branch3x3dbl_1", 288, 64, 1)
        self.add("branch3x3dbl_2", 64, 96, 3, padding=1)
        self.add("branch3x3dbl_3", 96, 96, 3, stride=2)

    def forward(self, x):
        three = self.each(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), three, functional.max_pool2d(x, 3, 2)], 1)


class Block6(Block):
    def __init__(self, inner):
        super().__init__()
        row, column = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.add("branch1x1", 768, 192, 1)
        self.add("branch7x7_1", 768, inner, 1)
        self.add("branch7x7_2", inner, inner, **row)
        self.add("branch7x7_3", inner, 192, **column)
        self.add("branch7x7dbl_1", 768, inner, 1)
        self.add("branch7x7dbl_2", inner, inner, **column)
        self.add("branch7x7dbl_3", inner, inner, **row)
        self.add("branch7x7dbl_4", inner, inner, **column)
        self.add("branch7x7dbl_5", inner, 192, **row)
        self.add("branch_pool", 768, 192, 1)

    def forward(self, x):
        single = self.each(x, "branch7x7_1", "branch7x7_2", "branch7x7_3")
        double = self.each(x, *(f"branch7x7dbl_{i}" for i in range(1, 6)))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(self.average(x))], 1)


class Block7a(Block):
    def __init__(self):
        super().__init__()
        self.add("branch3x3_1", 768, 192, 1)
        self.add("branch3x3_2", 192, 320, 3, stride=2)
        self.add("branch7x7x3_1", 768, 192, 1)
        self.add("branch7x7x3_2", 192, 192, (1, 7), padding=(0, 3))
        self.add("branch7x7x3_3", 192, 192, (7, 1), padding=(3, 0))
        self.add("branch7x7x3_4", 192, 192, 3, stride=2)

    def forward(self, x):
        three = self.each(x, "branch3x3_1", "branch3x3_2")
        seven = self.each(x, *(f"branch7x7x3_{i}" for i in range(1, 5)))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)


class Block7(Block):
    def __init__(self, before, largest):
        super().__init__()
        self.largest = largest
        row, column = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        self.add("branch1x1", before, 320, 1)
        self.add("branch3x3_1", before, 384, 1)
        self.add("branch3x3_2a", 384, 384, **row)
        self.add("branch3x3_2b", 384, 384, **column)
        self.add("branch3x3dbl_1", before, 448, 1)
        self.add("branch3x3dbl_2", 448, 384, 3, padding=1)
        self.add("branch3x3dbl_3a", 384, 384, **row)
        self.add("branch3x3dbl_3b", 384, 384, **column)
        self.add("branch_pool", before, 192, 1)

    def forward(self, x):
        single = self.each(x, "branch3x3_1")
        double = self.each(x, "branch3x3dbl_1", "branch3x3dbl_2")
        crosses = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        crosses += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.largest else self.average(x)
        return torch.cat([self.branch1x1(x), *crosses, self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """With the classifier that the file holds and that features do not need."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Layer(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Layer(32, 32, 3)
        self.Conv2d_2b_3x3 = Layer(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = Layer(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = Block5(192, 32), Block5(256, 64), Block5(288, 64)
        self.Mixed_6a = Block6a()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = map(Block6, (128, 160, 160, 192))
        self.Mixed_7a = Block7a()
        self.Mixed_7b, self.Mixed_7c = Block7(1280, largest=False), Block7(2048, largest=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x):
        """Features [n 2048] of images [n 3 h w] in [0, 1]."""
        x = functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * x - 1)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            x = block(x) if name.startswith("Mixed") else x
        return x.mean((2, 3))
