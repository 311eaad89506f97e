"""Names of timm's models are known without timm, and are those that timm has."""

import pytest

from trainables.models.weights.timm_names import timm_fault


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("vit_tiny_patch16_224", None),
        ("vit_tiny_patch16_224.augreg_in21k", None),
        ("vit_tiny_patch16_224_in21k", None),  # a former name
        ("vit_tinny_patch16_224", "timm has no model `vit_tinny_patch16_224`. Did you mean `vit_"),
        ("zzz", "timm has no model `zzz`."),
        (
            "vit_tiny_patch16_224.augreg",
            "timm has no weights `vit_tiny_patch16_224.augreg`, but `vit_tiny_patch16_224.augreg_",
        ),
    ],
)
def test_a_misspelt_name_is_a_fault_with_the_nearest_ones(name, fault):
    assert (found := timm_fault(name)) == fault or (fault and found and found.startswith(fault))


@pytest.mark.slow
def test_all_names_of_timm_are_known():
    import timm
    from timm.models import list_pretrained

    names = [*timm.list_models(), *list_pretrained()]
    assert [fault for name in names if (fault := timm_fault(name))] == []
