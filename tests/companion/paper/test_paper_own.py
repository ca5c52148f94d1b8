"""Which numbers of the paper were measured on its own network and data."""

import pandas as pd

from companion.paper.cells import MEASURED_HERE, NOT_MEASURED, OTHER_DATA, OTHER_NETWORK
from companion.paper.own import own_table, own_told

CELLS = pd.DataFrame(
    [
        ("Table 1", "imagenet-1k", "vgg16", OTHER_DATA),
        ("Table 1", "imagenet-1k", "vgg16", OTHER_DATA),
        ("Table 2", "stanford-cars", "vgg16", MEASURED_HERE),
        ("Table 2", "stanford-cars", "vgg16", MEASURED_HERE),
        ("Table 2", "stanford-cars", "resnet50", OTHER_NETWORK),
        ("Table 3", "imagenet-1k", "vgg16", MEASURED_HERE),
        ("Table 3", "imagenet-1k", "vgg16", NOT_MEASURED),
    ],
    columns=["table", "dataset", "network", "status"],
)


def test_every_number_is_counted_by_what_it_was_measured_on() -> None:
    table = own_table(CELLS).set_index(["table", "data set", "network"])
    assert table.loc[("Table 2", "Stanford Cars", "VGG-16")].tolist() == [2, 0, 0, 0]
    assert table.loc[("Table 2", "Stanford Cars", "ResNet-50")].tolist() == [0, 1, 0, 0]
    assert table.loc[("Table 3", "ImageNet", "VGG-16")].tolist() == [1, 0, 0, 1]
    assert table.to_numpy().sum() == len(CELLS)
    assert table.columns.tolist() == ["on its own", "with another network", "on other data", "not at all"]


def test_the_sentence_names_tables_data_sets_and_networks() -> None:
    told = own_told(CELLS)
    assert told.startswith("Of the paper's 7 numbers, 3 were measured on its own network and data (")
    assert "(Table 2, Stanford Cars: VGG-16; Table 3, ImageNet: VGG-16)" in told
    none = own_told(CELLS.assign(status=OTHER_DATA))
    assert none == "None of the paper's 7 numbers was measured on its own network and data."
