"""The publications that the paper cites."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A publication: how it is cited, and what the list says."""

    cited: str
    authors: str
    title: str
    venue: str
    arxiv: str = ""


REFERENCES: Mapping[str, Reference] = {
    "bouthillier": Reference(
        cited="Bouthillier et al. 2021",
        authors="X. Bouthillier, P. Delaunay, M. Bronzi, A. Trofimov, B. Nichyporuk, J. Szeto, "
        "N. Sepah, E. Raff, K. Madan, V. Voleti, S. E. Kahou, V. Michalski, D. Serdyuk, T. Arbel, "
        "C. Pal, G. Varoquaux, P. Vincent",
        title="Accounting for variance in machine learning benchmarks",
        venue="MLSys 2021",
        arxiv="2103.03098",
    ),
    "pare": Reference(
        cited="Cai et al. 2024",
        authors="L. Cai, S. Li, W. Ma, J. Kang, B. Xie, Z. Sun, C. Zhu",
        title="Enhancing cross-modal fine-tuning with gradually intermediate modality generation",
        venue="ICML 2024",
        arxiv="2406.09003",
    ),
    "fisher": Reference(
        cited="Fisher 1935",
        authors="R. A. Fisher",
        title="The design of experiments",
        venue="Oliver and Boyd, 1935",
    ),
    "herreros": Reference(
        cited="García-de-Herreros et al. 2024",
        authors="P. García-de-Herreros, V. Gautam, P. Slusallek, D. Klakow, M. Mosbach",
        title="What explains the success of cross-modal fine-tuning with ORCA?",
        venue="Workshop on Insights from Negative Results in NLP, NAACL 2024",
        arxiv="2403.13537",
    ),
    "holm": Reference(
        cited="Holm 1979",
        authors="S. Holm",
        title="A simple sequentially rejective multiple test procedure",
        venue="Scandinavian Journal of Statistics 6, 1979",
    ),
    "lora": Reference(
        cited="Hu et al. 2022",
        authors="E. J. Hu, Y. Shen, P. Wallis, Z. Allen-Zhu, Y. Li, S. Wang, L. Wang, W. Chen",
        title="LoRA: low-rank adaptation of large language models",
        venue="ICLR 2022",
        arxiv="2106.09685",
    ),
    "perceiver": Reference(
        cited="Jaegle et al. 2022",
        authors="A. Jaegle, S. Borgeaud, J.-B. Alayrac, C. Doersch, C. Ionescu, D. Ding, "
        "S. Koppula, D. Zoran, A. Brock, E. Shelhamer, O. Hénaff, M. M. Botvinick, A. Zisserman, "
        "O. Vinyals, J. Carreira",
        title="Perceiver IO: a general architecture for structured inputs and outputs",
        venue="ICLR 2022",
        arxiv="2107.14795",
    ),
    "fno": Reference(
        cited="Li et al. 2021",
        authors="Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, "
        "A. Anandkumar",
        title="Fourier neural operator for parametric partial differential equations",
        venue="ICLR 2021",
        arxiv="2010.08895",
    ),
    "fpt": Reference(
        cited="Lu et al. 2022",
        authors="K. Lu, A. Grover, P. Abbeel, I. Mordatch",
        title="Frozen pretrained transformers as universal computation engines",
        venue="AAAI 2022",
        arxiv="2103.05247",
    ),
    "mona": Reference(
        cited="Ma et al. 2024",
        authors="W. Ma, S. Li, L. Cai, J. Kang",
        title="Learning modality knowledge alignment for cross-modality transfer",
        venue="ICML 2024",
        arxiv="2406.18864",
    ),
    "weak": Reference(
        cited="McGreivy and Hakim 2024",
        authors="N. McGreivy, A. Hakim",
        title="Weak baselines and reporting biases lead to overoptimism in machine learning for "
        "fluid-related partial differential equations",
        venue="Nature Machine Intelligence, 2024",
        arxiv="2407.07218",
    ),
    "nadeau": Reference(
        cited="Nadeau and Bengio 2003",
        authors="C. Nadeau, Y. Bengio",
        title="Inference for the generalization error",
        venue="Machine Learning 52, 2003",
    ),
    "riachi": Reference(
        cited="Riachi et al. 2025",
        authors="R. Riachi, K. Rasul, A. Ashok, P. Humane, A. Roger, A. R. Williams, "
        "Y. Nevmyvaka, I. Rish",
        title="Random initialization can't catch up: the advantage of language model transfer for "
        "time series forecasting",
        venue="Preprint, 2025",
        arxiv="2506.21570",
    ),
    "dash": Reference(
        cited="Shen et al. 2022",
        authors="J. Shen, M. Khodak, A. Talwalkar",
        title="Efficient architecture search for diverse tasks",
        venue="NeurIPS 2022",
        arxiv="2204.07554",
    ),
    "orca": Reference(
        cited="Shen et al. 2023",
        authors="J. Shen, L. Li, L. M. Dery, C. Staten, M. Khodak, G. Neubig, A. Talwalkar",
        title="Cross-modal fine-tuning: align then refine",
        venue="ICML 2023",
        arxiv="2302.05738",
    ),
    "pdebench": Reference(
        cited="Takamoto et al. 2022",
        authors="M. Takamoto, T. Praditia, R. Leiteritz, D. MacKinlay, F. Alesiani, D. Pflüger, "
        "M. Niepert",
        title="PDEBench: an extensive benchmark for scientific machine learning",
        venue="NeurIPS 2022, datasets and benchmarks",
        arxiv="2210.07182",
    ),
    "tan": Reference(
        cited="Tan et al. 2024",
        authors="M. Tan, M. A. Merrill, V. Gupta, T. Althoff, T. Hartvigsen",
        title="Are language models actually useful for time series forecasting?",
        venue="NeurIPS 2024",
        arxiv="2406.16964",
    ),
    "recraft": Reference(
        cited="Tran et al. 2026",
        authors="T. K. Tran, M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang",
        title="Rethinking cross-modal fine-tuning: optimizing the interaction between feature "
        "alignment and target fitting",
        venue="AISTATS 2026",
        arxiv="2601.18231",
    ),
    "nasbench360": Reference(
        cited="Tu et al. 2022",
        authors="R. Tu, N. Roberts, M. Khodak, J. Shen, F. Sala, A. Talwalkar",
        title="NAS-Bench-360: benchmarking neural architecture search on diverse tasks",
        venue="NeurIPS 2022, datasets and benchmarks",
        arxiv="2110.05668",
    ),
}
