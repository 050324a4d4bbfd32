"""The fitted constants by device; `fitting.fit_product` and `fit_collective` give them again."""

from waferllm.explore.fitting import Collective, Nameplate, Product

#: Nameplate peaks that the fits refer to; sources as for the parts of `chips`.
PLATES = {
    "A100": Nameplate({"bf16": 312}, 2.039, 300),
    "H100": Nameplate({"bf16": 989, "fp8": 1979}, 3.35, 450),
    "H200": Nameplate({"bf16": 989, "fp8": 1979}, 4.8, 450),
    "B200": Nameplate({"bf16": 2250, "fp8": 4500, "fp4": 9000}, 8.0, 900),
    "GB200": Nameplate({"bf16": 2500, "fp8": 5000, "fp4": 10000}, 8.0, 900),
}
PRODUCTS = {
    ("A100", "bf16"): Product(0.797, 0.781, 6.13),
    ("H100", "bf16"): Product(0.803, 0.841, 4.18),
    ("H100", "fp8"): Product(0.620, 0.810, 13.00),
    ("H200", "bf16"): Product(0.811, 0.863, 5.30),
    ("H200", "fp8"): Product(0.626, 0.779, 12.88),
    ("B200", "bf16"): Product(0.687, 0.721, 3.86),
    ("B200", "fp8"): Product(0.544, 0.723, 15.58),
    ("B200", "fp4"): Product(0.424, 0.482, 10.75),
    ("GB200", "bf16"): Product(0.659, 0.758, 3.48),
    ("GB200", "fp8"): Product(0.495, 0.828, 15.66),
    ("GB200", "fp4"): Product(0.402, 0.510, 10.45),
}
COLLECTIVES = {
    "A100": Collective(4.27, 0.311, 0.507, 46.5, 0.680, 14.9, 0.542),
    "H100": Collective(2.68, 0.0979, 0.628, 27.5, 0.779, 11.5, 0.605),
    "H200": Collective(2.60, 0.102, 0.654, 21.1, 0.768, 11.7, 0.628),
    "B200": Collective(4.64, 0.0598, 0.644, 35.3, 0.698, 14.6, 0.456),
    "GB200": Collective(4.27, 0.0581, 0.586, 43.9, 0.693, 14.9, 0.420),
}
