"""Two processes that share every batch train the classifier that one trains, statistics of BatchNorm included."""

from __future__ import annotations

import copy
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sigcam_core.train.fit import Session, Task, fit, start_fabric
from sigcam_core.train.recipes import Recipe
from sigcam_core.train.synchronised import synchronised

RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=0.05, weight_decay=0.01, optimizer="sgd")
PROCESSES = 2
ITEMS = 24


def quiet(line: str) -> None:
    assert line


def task() -> Task:
    """A network with both kinds of BatchNorm, and a part that is not trained and whose averages rest."""
    torch.manual_seed(5)
    source = nn.BatchNorm2d(3)
    source.track_running_stats = False  # of the shares of all processes all the same
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), BatchNormAct2d(4), nn.Flatten(),
        nn.Linear(4 * 16, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    images = torch.randn(ITEMS, 3, 8, 8) * torch.linspace(0.5, 3, ITEMS).view(-1, 1, 1, 1)
    labels = torch.arange(ITEMS) % 5

    def batches(epoch: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        source.train()
        for batch in rows:
            with torch.no_grad():
                shown = source(images[batch])
            yield shown, labels[batch]

    return Task("toy", network, cross_entropy, batches, ITEMS, also_running=[source])


def train(processes: int, path: Path) -> None:
    done = task()
    fit(done, RECIPE, Session(0, quiet, start_fabric("cpu", processes)))
    state = nn.ModuleDict({"network": done.module, "source": done.also_running[0]}).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def one_of_two(rank: int, port: int, path: Path) -> None:
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    train(PROCESSES, path)


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    train(1, tmp_path / "alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [tmp_path / str(rank) for rank in range(PROCESSES)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=one_of_two, args=(rank, port, path)) for rank, path in enumerate(paths)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    alone, first, second = map(load_file, (tmp_path / "alone", *paths))
    untrained = task().module.state_dict()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), f"{name} differs between the processes"
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone["network.0.weight"], untrained["0.weight"], atol=1e-3)  # it has learnt
    assert not first["source.num_batches_tracked"]
    assert torch.equal(first["source.running_mean"], torch.zeros(3))


@pytest.mark.parametrize("processes", [1, 2])
def test_networks_come_back_as_they_were(processes: int) -> None:
    network = task().module
    names, forward = list(copy.deepcopy(network).state_dict()), nn.BatchNorm2d.forward
    with synchronised([network, network], processes):
        assert ("forward" in vars(network[1])) == (processes == 2)
        network.eval()
        network(torch.zeros(2, 3, 8, 8))  # whoever does not train needs nobody else
    assert list(network.state_dict()) == names
    assert "forward" not in vars(network[1])
    assert type(network[1]).forward is forward
