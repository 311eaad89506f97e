"""The methods, by the name that a sweep file uses. A literal, so that it reads as a table."""

from trainables.methods.contrastive_pare.method import CONTRASTIVE_PARE
from trainables.methods.fpt import FPT
from trainables.methods.method import Method
from trainables.methods.mona.method import MONA
from trainables.methods.nft import NFT
from trainables.methods.orca.method import ORCA
from trainables.methods.pare.cutmix import CUTMIX
from trainables.methods.pare.method import PARE
from trainables.methods.pare.mixup import MIXUP

METHODS: dict[str, Method] = {
    method.name: method for method in (ORCA, PARE, MONA, CONTRASTIVE_PARE, NFT, FPT, MIXUP, CUTMIX)
}
