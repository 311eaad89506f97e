"""The allow list of environment variables that a local cluster, and so its trials, inherit.

What is not on it stays with the driver: passwords of the ledger and of MLflow, and whatever secrets
the user's shell holds. A sweep adds names by `resources.env`, and the keys of a bucket that its
trials read or write.
"""

import re

__all__ = ["BUCKETS", "is_allowed"]

NAMES = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|TERM|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|NO_COLOR|"
    "LD_LIBRARY_PATH|LD_PRELOAD|DYLD_LIBRARY_PATH|DYLD_FALLBACK_LIBRARY_PATH|VIRTUAL_ENV|"
    "CONDA_PREFIX|CONDA_DEFAULT_ENV|XDG_CACHE_HOME|XDG_RUNTIME_DIR|NO_PROXY|no_proxy|"
    "SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|DO_NOT_TRACK|"
    "TOKENIZERS_PARALLELISM|SWEEPER_HOME|SWEEPER_LEASE|RAY_AUTH_TOKEN|RAY_AUTH_TOKEN_PATH"
)
FAMILIES = re.compile(  # but for a name that sounds like a secret
    "LC_|PYTHON|RAY_|TUNE_|GRPC_|CUDA|NVIDIA_|NCCL_|CUDNN_|CUBLAS_|HIP_|HSA_|ROCR_|ROCM_|"
    "OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|BLIS_|VECLIB_|NUMEXPR_|NUMBA_|LOKY_|JOBLIB_|MALLOC_|"
    "TORCH|PYTORCH_|TRITON_|HF_|TRANSFORMERS_|TIMM_|POT_|HDF5_|ARROW_|SKLEARN_|COVERAGE_|FAKETIME"
)
SECRET = re.compile("PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.I)
PROXIES = "HTTP_PROXY|HTTPS_PROXY|http_proxy|https_proxy"
BUCKETS = {  # by the scheme of a store that trials use
    "s3": re.compile(f"AWS_|{PROXIES}"),
    "gs": re.compile(f"GOOGLE_|GCLOUD_|CLOUDSDK_|STORAGE_EMULATOR_HOST|{PROXIES}"),
}


def is_allowed(name: str) -> bool:
    """Return whether trials inherit a variable of this name without being asked to."""
    is_named = NAMES.fullmatch(name) is not None
    return is_named or bool(FAMILIES.match(name) and not SECRET.search(name))
