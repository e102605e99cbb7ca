"""While transformers reads a model: no bars and no advice, and one sentence where it cannot."""

import functools
from contextlib import contextmanager

from safetensors import SafetensorError

from ethical_compression import store
from ethical_compression.errors import InputError


@contextmanager
def one_sentence(name: str):
    """What transformers has to say about a model that it cannot read, in one sentence of ours."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if store.errno_of(error) in store.OF_WRITING:
            raise
        said = " ".join(str(error).split()).split(". ")[0].rstrip(".:")
        raise InputError(
            f"The model {name} cannot be read ({said[:200]}): check its files, or choose another."
        ) from error


def forget_quantization(config) -> None:
    """Take the note of a quantization out of a config, where there is one.

    transformers writes it for some of what it reads, as its version is: a GGUF file has had one
    since after 5.15.
    """
    if hasattr(config, "quantization_config"):
        del config.quantization_config


@contextmanager
def quiet():
    """No progress bars and no advice while transformers reads a model."""
    import tqdm
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    level, bars, gguf_bar = logging.get_verbosity(), logging.is_progress_bar_enabled(), gguf.tqdm
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # This one bar does not heed the switch above.
    gguf.tqdm = functools.partial(tqdm.tqdm, disable=True)
    try:
        yield
    finally:
        gguf.tqdm = gguf_bar
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
