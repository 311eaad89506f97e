"""Sources without information: controls for the value of a real source.

If a method performs as well with these sources, its gain does not come from the source. Images are
Gaussian noise. Their pixels and masks are independent of the label. Sentences are random words from
a short list. All words of a sentence have one label, which is independent of them. The data are the
same in every trial.
"""

from pathlib import Path

import torch

from trainables.seeding import generator
from trainables.sources.proxy import ImageProxy, TokenProxy, hashed_images, hashed_sentences

IMAGES, SIZE, IMAGE_CLASSES = 2000, 32, 10
MEAN, STD = 0.5, 0.15  # about one pixel in a thousand is clipped

SENTENCES, WORDS = 1000, 32  # a sentence is about one window, so that a window has one label
WORD_CLASSES = tuple(f"noise_{index}" for index in range(8))  # as many as in CoNLL-2003
NOUNS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work night point "
    "home water"
)


def load_noise(home: Path) -> ImageProxy:
    """Draw images, labels and masks. `home` is not used."""
    rng = generator(0, "noise")
    normal = torch.randn(IMAGES, 3, SIZE, SIZE, generator=rng)
    images = ((MEAN + STD * normal) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    labels = torch.randint(IMAGE_CLASSES, (IMAGES,), generator=rng).numpy()
    masks = torch.randint(2, (IMAGES, SIZE, SIZE), generator=rng, dtype=torch.uint8).numpy()
    mean, std = (MEAN, MEAN, MEAN), (STD, STD, STD)
    return hashed_images("noise", images, labels, masks, mean=mean, std=std)


def load_noise_words(home: Path) -> TokenProxy:
    """Draw sentences and a label for each. `home` is not used."""
    rng = generator(0, "noise_words")
    nouns = NOUNS.split()
    drawn = torch.randint(len(nouns), (SENTENCES, WORDS), generator=rng).tolist()
    of_sentence = torch.randint(len(WORD_CLASSES), (SENTENCES,), generator=rng).tolist()
    sentences = tuple(tuple(nouns[word] for word in line) for line in drawn)
    labels = tuple((label,) * WORDS for label in of_sentence)
    return hashed_sentences("noise_words", sentences, labels, WORD_CLASSES)
