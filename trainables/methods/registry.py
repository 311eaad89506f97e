"""The methods, by the name that a sweep file uses. A literal, so that it reads as a table."""

from trainables.methods.contrastive_pare import CONTRASTIVE_PARE
from trainables.methods.cutmix import CUTMIX
from trainables.methods.fpt import FPT
from trainables.methods.method import Method
from trainables.methods.mixup import MIXUP
from trainables.methods.mona import MONA
from trainables.methods.nft import NFT
from trainables.methods.orca import ORCA
from trainables.methods.pare import PARE

METHODS: dict[str, Method] = {
    method.name: method for method in (ORCA, PARE, MONA, CONTRASTIVE_PARE, NFT, FPT, MIXUP, CUTMIX)
}
