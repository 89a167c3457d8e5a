"""The pretraining loop: exact resume, warnings and errors, several processes."""

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from core import train
from core.errors import UserError
from core.method.moco import MoCo
from core.method.pairs import AHEAD, Gap, PairLoader, Pairs
from core.method.views import MOVED, Views, as_float
from core.store.build import build
from core.store.read import ChipStore
from core.training import pretrain
from core.training.moco_module import EVERY, OPTIMIZERS, Pretraining, Watch, fitting_batch, scaled_lr
from core.training.trainer import pick_precision
from tests.conftest import call
from tests.processes import GroupedMoCo, SmoothEncoder
from tests.sources import Ramp, info

ROOT = Path(train.__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")  # as in the subprocesses

LOSSES = ["loss", "contrast", "geo", "geo_accuracy"]


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """Tiny chips of 16 bits with holes: 40 training places, two dates each."""
    out = tmp_path_factory.mktemp("stores") / "ramp"
    return build(Ramp(info(), count=13), out, workers=1)[0]


def options(store: ChipStore, out: Path, *more: object, epochs: int = 4) -> list[str]:
    fixed = ["--batch-size", 8, "--queue", 64, "--clusters", 5, "--precision", "32-true", "--device", "cpu"]
    return [str(x) for x in ["pretrain", "--data", store.path, "--out", out, "--epochs", epochs, *fixed, *more]]


def started(*arguments: object, launcher: tuple = (), module: str = "core.train") -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *launcher, "-m", module, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def logged(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "metrics.csv")
    return table.dropna(subset="loss").set_index("step")[LOSSES]


def wait_for_step(process: subprocess.Popen, out: Path, step: int, saved: bool = False) -> None:
    csv = out / "logs" / "metrics.csv"
    for _ in range(3000):
        if (not saved or (out / "last.ckpt").exists()) and csv.exists() and f",{step}," in csv.read_text():
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError("the run does not get there")


@pytest.fixture(scope="module")
def undisturbed(ramp, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert call(train.main, *options(ramp, out)) == 0
    return out


def run_with(event: Callable[[int], None], *arguments: str) -> int:
    """Run in this process; ``event`` happens after each step, before its checkpoint."""
    plain = Watch.on_train_batch_end

    def watched(self, trainer, *rest):
        event(trainer.global_step)
        plain(self, trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "on_train_batch_end", watched)
        return call(train.main, *arguments)


def test_a_killed_run_resumes_with_exactly_the_losses_of_an_undisturbed_one(ramp, undisturbed, tmp_path):
    out = tmp_path / "killed"
    process = started(*options(ramp, out, "--checkpoint-every", 3))
    wait_for_step(process, out, 4, saved=True)
    process.kill()
    process.communicate()
    reached = torch.load(out / "last.ckpt", weights_only=False)["global_step"]
    whole = logged(undisturbed / "logs")
    steps = len(whole) // 4
    assert reached % steps != 0  # in the middle of an epoch
    assert call(train.main, *options(ramp, out, "--resume")) == 0
    resumed = logged(out / "logs-2")
    assert list(resumed.index) == list(range(reached, len(whole)))
    pd.testing.assert_frame_equal(resumed, whole.loc[reached:], check_exact=True)
    pd.testing.assert_frame_equal(logged(out / "logs"), whole.loc[: logged(out / "logs").index[-1]], check_exact=True)
    weights = [torch.load(run / "last.ckpt", weights_only=False)["state_dict"] for run in (out, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_resumes_exactly_after_the_end_of_an_epoch(ramp, undisturbed, tmp_path):
    whole, out = logged(undisturbed / "logs"), tmp_path / "run"
    epoch = len(whole) // 4

    def crash(step: int) -> None:
        if step == epoch + 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        run_with(crash, *options(ramp, out, "--checkpoint-every", epoch))
    assert call(train.main, *options(ramp, out, "--resume")) == 0
    pd.testing.assert_frame_equal(logged(out / "logs-2"), whole.loc[epoch:], check_exact=True)


def test_a_run_that_is_asked_to_stop_saves_and_prints_how_to_resume(ramp, undisturbed, tmp_path):
    out = tmp_path / "stopped"
    process = started(*options(ramp, out))
    wait_for_step(process, out, 2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"resume with: python -m core.train pretrain --config {out / 'config.yaml'} --resume" in said
    assert call(train.main, "pretrain", "--config", out / "config.yaml", "--resume") == 0
    resumed = logged(out / "logs-2")
    pd.testing.assert_frame_equal(resumed, logged(undisturbed / "logs").loc[resumed.index[0] :], check_exact=True)


def test_a_run_cannot_resume_with_other_options(ramp, undisturbed, capsys):
    config = (undisturbed / "config.yaml").read_text()
    more = ["--batch-size", 16, "--variant", "moco-tp", "--queue", 32]
    assert call(train.main, *options(ramp, undisturbed, "--resume", *more)) == 2
    said = "--resume: --variant moco-geo-tp is now moco-tp, --batch-size 8 is now 16, --queue 64 is now 32; resume with the original options"
    assert said in capsys.readouterr().err
    assert (undisturbed / "config.yaml").read_text() == config


def test_a_run_cannot_resume_with_other_images(ramp):
    loader = PairLoader(all_pairs(ramp, True), 8)
    with pytest.raises(UserError, match=r"^--resume: images 60 is now \d+; resume with"):
        loader.load_state_dict(loader.state_dict() | {"images": 60})


def test_maps_of_one_pixel_learn_in_fp32_on_a_cpu(ramp, tmp_path, capsys):
    cpu = torch.device("cpu")
    assert pick_precision("auto", cpu, 16, 32) == "32-true"
    assert pick_precision("auto", cpu, 32, 32) == "32-true"  # and small images, which are faster so
    assert pick_precision("bf16-mixed", cpu, 17, 32) == "bf16-mixed"
    assert pick_precision("bf16-mixed", torch.device("meta"), 8, 32) == "bf16-mixed"
    assert call(train.main, *options(ramp, tmp_path / "x", "--precision", "bf16-mixed")) == 2
    assert "--precision bf16-mixed: gives wrong gradients on a CPU" in capsys.readouterr().err


def test_any_batch_size_up_to_the_queue_is_accepted(ramp, tmp_path, capsys):
    assert call(train.main, *options(ramp, tmp_path / "run", "--batch-size", 7, epochs=1)) == 0
    assert np.isfinite(logged(tmp_path / "run" / "logs")["loss"]).all()
    assert call(train.main, *options(ramp, tmp_path / "x", "--batch-size", 65)) == 2
    assert "--batch-size 65: must not exceed --queue 64" in capsys.readouterr().err


def test_a_batch_larger_than_the_store_is_reduced_with_a_message(ramp, tmp_path, capsys):
    assert call(train.main, *options(ramp, tmp_path / "run", "--batch-size", 512, "--queue", 512, epochs=1)) == 0
    assert "--batch-size 512: reduced to" in capsys.readouterr().out


def test_a_full_disk_keeps_the_last_good_checkpoint_and_the_run(ramp, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.yaml").touch()
    kept = []

    def disk(step: int) -> None:  # a device without room in the place of the next checkpoint, once
        if step == 4:
            (out / "last.ckpt.partial").symlink_to("/dev/full")
        if step == 5:
            kept.append(torch.load(out / "last.ckpt", weights_only=False)["global_step"])

    assert run_with(disk, *options(ramp, out, "--overwrite", "--checkpoint-every", 2, epochs=1)) == 0
    said = capsys.readouterr().out
    assert said.count("last.ckpt: cannot be written") == 1
    assert "training continues; last.ckpt is from an earlier step" in said
    assert kept == [2]
    assert torch.load(out / "last.ckpt", weights_only=False)["global_step"] > 4


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(ramp, tmp_path, capsys):
    out = tmp_path / "run"
    assert call(train.main, *options(ramp, out, "--checkpoint-every", 1, "--lr", "1e30")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "lower --lr or raise --temperature" in error
    if (out / "last.ckpt").exists():
        weights = torch.load(out / "last.ckpt", weights_only=False)["state_dict"]
        assert all(w.isfinite().all() for name, w in weights.items() if "encoder_q" in name and "running" not in name)
    assert not (out / "encoder.safetensors").exists()


def watch(steps: list[tuple[float, float, float]], chance: float | None = 0.3) -> Watch:
    watch = Watch(Path("run"), chance, steps=100)
    for losses in steps:
        watch.recent.append(torch.tensor(losses))
        if len(watch.recent) == EVERY:
            watch.check(100)
    return watch


def test_a_collapse_and_a_geo_head_at_chance_are_reported_once(capsys):
    watch([(1.0, 0.5, 0.9)] * 2 * EVERY)
    assert capsys.readouterr().out == ""
    watch([(1.0, 0.2, 0.01)] * 2 * EVERY)
    said = capsys.readouterr().out
    assert said.count("collapsed") == said.count("geo accuracy is 20.0%, no better than") == 1


def test_the_step_of_a_loss_that_is_not_finite_is_named():
    watching = watch([(1.0, 0.5, 0.9)] * 3 + [(math.nan, 0.5, 0.9)] * 2)
    with pytest.raises(UserError, match="the loss is not finite at step 19"):
        watching.check(20)


def test_a_batch_size_that_fits_is_estimated_from_smaller_steps():
    def peak(pairs: int) -> float:
        if pairs > 100:
            raise torch.OutOfMemoryError
        return 1000 + 10 * pairs

    assert (
        fitting_batch(peak, 512, limit=2100) == 105
    )  # 64 pairs take 1640, each more takes 10; nine tenths of the rest

    def hopeless(pairs: int) -> float:
        raise torch.OutOfMemoryError

    assert fitting_batch(hopeless, 512, limit=2000) is None


def test_out_of_memory_suggests_a_batch_size_that_fits(ramp, tmp_path, capsys, monkeypatch):
    plain = MoCo.forward

    def small_device(self, im_q, *rest, **more):
        if len(im_q) > 4:
            raise torch.OutOfMemoryError("simulated")
        return plain(self, im_q, *rest, **more)

    monkeypatch.setattr(MoCo, "forward", small_device)
    assert call(train.main, *options(ramp, tmp_path / "run")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--batch-size 8: out of memory on cpu; about 4 fit: use --batch-size 4" in error


def test_every_run_logs_how_long_it_waited_for_data(undisturbed):
    assert 0 <= json.loads((undisturbed / "metrics.json").read_text())["data_wait"] < 0.5
    assert pd.read_csv(undisturbed / "logs" / "metrics.csv")["data_wait"].notna().any()


def test_any_lightning_logger_can_be_added_by_configuration(ramp, tmp_path, capsys):
    entry = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path / "more")}}
    (tmp_path / "loggers.yaml").write_text(yaml.safe_dump({"loggers": [entry]}))
    config = ["--config", tmp_path / "loggers.yaml"]
    assert call(train.main, *options(ramp, tmp_path / "run", *config, epochs=1)) == 0
    assert list((tmp_path / "more").rglob("metrics.csv"))
    assert list((tmp_path / "run" / "logs").glob("events.*"))  # TensorBoard's
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["loggers"] == [entry]
    (tmp_path / "loggers.yaml").write_text(yaml.safe_dump({"loggers": [{"class_path": "no.such.Logger"}]}))
    assert call(train.main, *options(ramp, tmp_path / "x", *config)) == 2
    assert "error: --loggers: " in capsys.readouterr().err


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for the device: a number, or a shape that depends on numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("geo_head", ["projection", "trunk"])
def test_a_step_never_waits_for_the_device(ramp, geo_head):
    pairs = all_pairs(ramp, temporal=True)
    loader = PairLoader(pairs, 8, again=True)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(128, 6))
    moco = MoCo(trunk, 6, dim=4, K=16, clusters=2, geo_head=geo_head, mask_same_place=True, season="both")
    views = Views(jitter_chance=0.8, grey=0.2, blur=0.5)
    module = Pretraining(moco, views, loader, 0.1, 10, pair_views="jittered")
    batch = next(iter(loader))
    with NoWaiting():
        im_q, im_k, again = (part.nan_to_num() for part in (*module.pair_of_views(batch), module.view_again(batch)))
        moco(im_q, im_k, batch.cluster, batch.places, batch.order, again, batch.alone).total.backward()
    with pytest.raises(AssertionError), NoWaiting():
        torch.ones(()).item()


# Pairs


def all_pairs(store: ChipStore, temporal: bool, gap: Gap | None = None) -> Pairs:
    return Pairs(store, store.places, np.zeros(len(store.places), int), temporal, seed=0, gap=gap or Gap())


@pytest.mark.parametrize(
    "gap", [Gap(), Gap(0, 31), Gap(30, None), Gap(30, 60), Gap(29.5, 31), Gap(0, 0), Gap(500, 900)]
)
def test_partners_are_other_dates_within_the_gap(store, gap):
    pairs = all_pairs(store, True, gap)
    days = store.column("datetime").astype("datetime64[s]").astype(float) / 86400
    found: dict[int, set[int]] = {i: set() for i in range(len(pairs))}
    for epoch in range(40):
        for item, partner in enumerate(pairs.partners(np.arange(len(pairs)), epoch)):
            found[item].add(int(partner))
    for item, partners in found.items():
        same = np.flatnonzero(pairs.place_of == pairs.place_of[item])
        most = math.inf if gap.most is None else gap.most
        apart = np.abs(days[pairs.rows[same]] - days[pairs.rows[item]])
        allowed = same[(same != item) & (apart >= gap.least) & (apart <= most)]
        assert partners == (set(allowed.tolist()) or {item})
    assert pairs.unpaired() == sum(partners == {item} for item, partners in found.items())


def test_an_image_without_a_date_has_no_gap_to_any_other(tmp_path):
    from tests.sources import Bare

    bare, _ = build(Bare(info()), tmp_path / "s", workers=1)
    assert all_pairs(bare, True).unpaired() == 0
    pairs = all_pairs(bare, True, Gap(0, 10))
    assert pairs.unpaired() == len(pairs)
    assert (pairs.partners(np.arange(len(pairs))) == np.arange(len(pairs))).all()


def test_images_without_a_partner_are_reported(ramp, tmp_path, capsys):
    run = options(ramp, tmp_path / "run", "--min-gap", 300, epochs=1)
    assert call(train.main, *run) == 0
    assert "images have no other date within --min-gap and --max-gap and are paired with themselves" in (
        capsys.readouterr().out
    )
    assert call(train.main, *options(ramp, tmp_path / "x", "--min-gap", 9, "--max-gap", 3)) == 2
    assert call(train.main, *options(ramp, tmp_path / "x", "--min-gap", 9, "--variant", "moco")) == 2
    assert "--variant moco has no temporal pairs; omit these options" in capsys.readouterr().err


def test_the_order_is_a_function_of_seed_and_epoch_and_can_start_anywhere(ramp):
    pairs = all_pairs(ramp, True)
    whole, late = PairLoader(pairs, 8), PairLoader(pairs, 8)
    batches = [*whole, *whole]
    assert len(batches) == 2 * len(whole) > 2 * AHEAD
    assert [b.step for b in batches] == list(range(len(batches)))
    late.load_state_dict(whole.state_dict() | {"step": len(whole) + 3})
    for a, b in zip(batches[len(whole) + 3 :], late, strict=True):
        assert all(x is y or torch.equal(x, y) for x, y in zip(a[:-1], b[:-1]))
    assert not torch.equal(batches[0].queries, batches[len(whole)].queries)


def test_processes_get_their_shares_of_the_same_batch(ramp):
    pairs = all_pairs(ramp, True)
    whole = next(iter(PairLoader(pairs, 8)))
    shares = [next(iter(PairLoader(pairs, 8, rank=rank, processes=2))) for rank in range(2)]
    for name in ("queries", "keys", "query_valid", "cluster"):
        parts = [getattr(share, name) for share in shares]
        if all(part is not None for part in parts):
            assert torch.equal(torch.cat(parts), getattr(whole, name))
    place = {int(p): i for i, p in enumerate(whole.places)}
    assert len(place) <= 8
    assert torch.equal(shares[1].places, whole.places)
    assert sorted(shares[1].order.tolist()) == list(range(8))


def test_chips_are_handed_over_as_stored(ramp, store):
    batch = next(iter(PairLoader(all_pairs(ramp, False), 8)))
    assert batch.queries.dtype == torch.uint16
    assert batch.query_valid.dtype == torch.bool
    assert torch.equal(batch.keys, batch.queries[batch.order])  # its own partner, in the keys' order
    assert batch.alone.all()
    plain = next(iter(PairLoader(all_pairs(store, False), 8)))
    assert plain.queries.dtype == torch.uint8
    assert plain.query_valid is None  # no pixel is missing


def test_the_queries_are_read_again_in_the_order_of_the_keys(ramp):
    batch = next(iter(PairLoader(all_pairs(ramp, True), 8, again=True)))
    assert torch.equal(batch.again, batch.queries[batch.order])
    assert not torch.equal(batch.again, batch.keys)
    assert not batch.alone.any()  # every place of this store has two dates
    assert next(iter(PairLoader(all_pairs(ramp, True), 8))).again is None


# Views of pairs


def pretraining(
    pairs: Pairs, pair_views: str, views: Views, rank: int = 0, processes: int = 1, season: str = "ignore"
) -> Pretraining:
    loader = PairLoader(pairs, 8, rank=rank, processes=processes, again=season != "ignore")
    moco = MoCo(nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE**2, 6)), 6, dim=4, K=16, season=season)
    return Pretraining(moco, views, loader, 0.1, 10, pair_views=pair_views)


SIDE = 16
PLAIN = Views(jitter=0.0)  # geometry alone


def of_positions(batch, alone: bool):
    """The batch with chips whose values are the row and the column of each pixel, the same in all of them."""
    here = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")).float()
    chips = here.expand(len(batch.queries), 2, SIDE, SIDE)
    return batch._replace(
        queries=chips, keys=chips, query_valid=None, key_valid=None, alone=torch.full_like(batch.alone, alone)
    )


def test_two_dates_share_their_geometry_and_two_views_of_one_image_never_do(ramp):
    pairs = all_pairs(ramp, True)
    batch = next(iter(PairLoader(pairs, 8)))
    apart = {}
    for how in ("whole", "shared", "jittered", "independent"):
        module = pretraining(pairs, how, PLAIN)
        chips = of_positions(batch, alone=False)
        one, other = module.pair_of_views(chips)
        if how == "whole":
            torch.testing.assert_close(one, chips.queries, atol=1e-4, rtol=0)
        apart[how] = (one[batch.order] - other).abs().amax(dim=(1, 2, 3))
        one, other = module.pair_of_views(of_positions(batch, alone=True))
        assert (one[batch.order] - other).abs().amax(dim=(1, 2, 3)).min() > 1
    assert (apart["whole"] == 0).all()
    assert (apart["shared"] == 0).all()
    assert apart["jittered"].min() > 0
    assert apart["jittered"].max() <= MOVED + 1e-4
    assert apart["independent"].min() > MOVED


def test_colours_of_two_dates_change_each_on_its_own(ramp):
    pairs = all_pairs(ramp, True)
    batch = of_positions(next(iter(PairLoader(pairs, 8))), alone=False)
    one, other = pretraining(pairs, "shared", Views()).pair_of_views(batch)
    gains = one[batch.order].std(dim=(2, 3)) / other.std(dim=(2, 3))
    assert (gains - 1).abs().min() > 1e-3


def test_beside_whole_pairs_the_kept_season_gets_crops_whatever_the_number_of_processes(ramp):
    pairs = all_pairs(ramp, temporal=True)
    module = pretraining(pairs, "whole", PLAIN, season="both")
    batch = next(iter(module.loader))
    crops, (queries, _) = module.view_to_keep(batch), module.pair_of_views(batch)
    again = module.view_again(batch)
    own = as_float(batch.queries, batch.query_valid)
    torch.testing.assert_close(queries, own, equal_nan=True)
    assert ((crops - own).abs() > 1).flatten(1).any(dim=1).all()
    assert ((crops - again[torch.argsort(batch.order)]).abs() > 1).flatten(1).any(dim=1).all()
    parts = [pretraining(pairs, "whole", PLAIN, rank, 2, "both") for rank in range(2)]
    torch.testing.assert_close(
        torch.cat([part.view_to_keep(next(iter(part.loader))) for part in parts]), crops, equal_nan=True
    )
    for season, how in (("ignore", "whole"), ("keep", "whole"), ("both", "shared")):
        assert pretraining(pairs, how, PLAIN, season=season).view_to_keep(batch) is None


@pytest.mark.parametrize("how", ["whole", "shared", "jittered"])
def test_the_views_of_a_pair_do_not_depend_on_the_number_of_processes(ramp, how):
    pairs = all_pairs(ramp, True)
    whole = pretraining(pairs, how, Views()).pair_of_views(next(iter(PairLoader(pairs, 8))))
    shares = []
    for rank in range(2):
        batch = next(iter(PairLoader(pairs, 8, rank=rank, processes=2)))
        shares.append(pretraining(pairs, how, Views(), rank, 2).pair_of_views(batch))
    for side, of_both in zip(whole, zip(*shares)):
        torch.testing.assert_close(torch.cat(of_both), side, equal_nan=True)


# Optimisers


def test_adamw_warms_up_and_both_optimisers_end_at_zero(ramp):
    rates = {}
    for name in ("sgd", "adamw"):
        moco = MoCo(nn.Sequential(nn.Flatten(), nn.Linear(12, 6)), 6, dim=4, K=16, season="ignore")
        module = Pretraining(moco, Views(), PairLoader(all_pairs(ramp, True), 8), 0.5, 100, optimizer=name)
        made = module.configure_optimizers()
        assert type(made["optimizer"]).__name__.lower() == name
        rates[name] = [made["lr_scheduler"]["scheduler"].lr_lambdas[0](step) for step in range(101)]
    cosine = [0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(101)]
    assert rates["sgd"] == pytest.approx(cosine)
    assert rates["adamw"][:5] == pytest.approx([(step + 1) / 5 * cosine[step] for step in range(5)])
    assert rates["adamw"][5:] == pytest.approx(cosine[5:])


def test_learning_rates_are_those_of_a_batch_of_256():
    assert scaled_lr("sgd", None, 256) == OPTIMIZERS["sgd"]
    assert scaled_lr("sgd", 0.3, 64) == pytest.approx(0.075)
    assert scaled_lr("adamw", 0.004, 64) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--season", "winter"], "--season winter: choose one of ignore, keep, both"),
        (["--pair-views", "same"], "--pair-views same: choose one of whole, shared, jittered, independent"),
        (["--optimizer", "lion"], "--optimizer lion: choose one of sgd, adamw"),
        (["--season", "keep", "--variant", "moco"], "--season keep: --variant moco has no temporal pairs; omit"),
        (["--pair-views", "jittered", "--variant", "moco-geo"], "--pair-views jittered: --variant moco-geo has no"),
        (["--ignore-weight", 1], "--ignore-weight 1: must lie between 0 and 1"),
        (["--ignore-weight", 0.2, "--season", "keep"], "--ignore-weight 0.2: needs temporal pairs and --season both"),
        (["--ignore-weight", 0.2, "--variant", "moco-geo"], "--ignore-weight 0.2: needs temporal pairs and --season"),
        (["--season", "keep", "--mask-same-place"], "--mask-same-place: with --season keep the other dates of a place"),
    ],
)
def test_options_of_pairs_that_do_not_fit_are_refused(ramp, tmp_path, capsys, wrong, said):
    assert call(train.main, *options(ramp, tmp_path / "x", *wrong)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# Several processes


def test_two_processes_have_the_losses_of_one_with_batch_norm_in_two_groups(ramp, tmp_path, monkeypatch):
    more = ["--mask-same-place", "--lr", 1.0, "--season", "both", "--pair-views", "jittered"]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = started(*options(ramp, tmp_path / "two", *more), launcher=launcher, module="tests.processes")
    monkeypatch.setattr(pretrain, "Encoder", SmoothEncoder)
    assert call(train.main, *options(ramp, tmp_path / "plain", *more)) == 0
    monkeypatch.setattr(pretrain, "MoCo", GroupedMoCo)
    assert call(train.main, *options(ramp, tmp_path / "grouped", *more)) == 0
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    plain, grouped, two = (logged(tmp_path / name / "logs").to_numpy() for name in ("plain", "grouped", "two"))
    assert len(two) == 40
    np.testing.assert_allclose(two, grouped, atol=1e-5, rtol=0)
    assert np.abs(two - plain).max() > 1e-2  # the groups matter
    assert (tmp_path / "two" / "encoder.safetensors").is_file()
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["processes"] == 2


def test_one_of_two_processes_asked_to_stop_saves_and_stops_both(ramp, tmp_path):
    out = tmp_path / "two"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = started(*options(ramp, out, epochs=500), launcher=launcher, module="tests.processes")
    wait_for_step(process, out, 2)
    os.kill(workers_of(process)[1], signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("resume with: ") == 1
    assert 0 < torch.load(out / "last.ckpt", weights_only=False)["global_step"] < 5000


def workers_of(process: subprocess.Popen) -> list[int]:
    """Numbers of the processes that a launcher started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return sorted(map(int, children.split()))


# Configurations and defaults

VARIANTS = ("moco", "moco-geo", "moco-tp", "moco-geo-tp")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("whose", ["paper", "ours"])
def test_each_configuration_is_understood(whose, variant, capsys):
    path = ROOT / "configs" / whose / f"{variant}.yaml"
    with pytest.raises(SystemExit) as end:
        train.main(["pretrain", "--config", str(path), "--data", "s", "--out", "r", "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["variant"] == variant
    written = yaml.safe_load(path.read_text())
    for name, value in written.items():
        assert printed[name] == value
    if whose == "ours":  # they say what happens without any option
        train_parser = (
            train._parser(train._commands()).parse_args(["pretrain", "--data", "s", "--out", "r"]).pretrain.as_dict()
        )
        assert written | {"variant": ""} == {name: train_parser[name] for name in written} | {"variant": ""}
    else:
        assert printed["queue"] == 65536


def test_the_method_has_the_same_defaults_in_python_and_in_the_shell():
    method = {name: parameter.default for name, parameter in inspect.signature(MoCo).parameters.items()}
    shell = train._parser(train._commands()).parse_args(["pretrain", "--data", "s", "--out", "r"]).pretrain.as_dict()
    names = {"K": "queue", "m": "momentum", "T": "temperature"}
    names |= {name: name for name in ("alpha", "beta", "geo_head", "mask_same_place", "season", "ignore_weight")}
    assert {name: method[name] for name in names} == {name: shell[option] for name, option in names.items()}
    assert set(method) - set(names) == {
        "trunk",
        "width",
        "dim",
        "clusters",
        "where",
    }  # not options of the shell, or structural
