# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The core against closed forms and against Hugging Face's diffusers."""

import copy
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from ldmlr_sklearn.diffusion import (
    NOISE_SCHEDULES,
    PREDICTION_TYPES,
    Denoiser,
    GaussianMixture,
    NoiseSchedule,
    denoised_by,
    denoising_loss,
    draw_rows,
    guided,
    sample_ddim,
    train,
)
from ldmlr_sklearn.diffusion._training import _AdamW, one_cycle

DIFFUSERS_SCHEDULES = {"cosine": "squaredcos_cap_v2", "linear": "linear"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.empty(*shape).normal_(generator=generator(seed))


def diffusers_scheduler(noise_schedule="cosine", prediction_type="v_prediction"):
    schedulers = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    return schedulers.DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule=DIFFUSERS_SCHEDULES[noise_schedule],
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        clip_sample=False,
    )


@pytest.mark.parametrize("name", NOISE_SCHEDULES)
def test_schedule_is_that_of_diffusers(name):
    schedule, theirs = NoiseSchedule.from_name(name, 1000), diffusers_scheduler(name)
    torch.testing.assert_close(
        schedule.signal**2, theirs.alphas_cumprod, atol=1e-5, rtol=1e-4
    )
    x0, noise = normal(1000, 3), normal(1000, 3, seed=1)
    t = torch.arange(1000)
    close = dict(atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        schedule.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), **close
    )
    torch.testing.assert_close(
        schedule.target(x0, noise, t, "v_prediction"),
        theirs.get_velocity(x0, noise, t),
        **close,
    )


@pytest.mark.parametrize("name", NOISE_SCHEDULES)
@pytest.mark.parametrize("n_timesteps", [2, 10, 100, 1000, 4000])
def test_every_schedule_ends_in_noise(name, n_timesteps):
    schedule = NoiseSchedule.from_name(name, n_timesteps)
    assert len(schedule) == n_timesteps
    assert (schedule.signal.diff() < 0).all()
    assert schedule.signal[-1] < 0.05
    torch.testing.assert_close(
        schedule.signal**2 + schedule.noise**2, torch.ones(n_timesteps)
    )


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_denoised_inverts_target(prediction_type):
    schedule = NoiseSchedule.from_name("cosine", 1000)
    x0, noise, t = normal(900, 5), normal(900, 5, seed=1), torch.arange(900)
    xt = schedule.add_noise(x0, noise, t)
    target = schedule.target(x0, noise, t, prediction_type)
    torch.testing.assert_close(
        schedule.denoised(xt, target, t, prediction_type), x0, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("n_steps", [1, 3, 10, 1000, 5000])
def test_inference_times_fall_from_the_last_one(n_steps):
    times = NoiseSchedule.from_name("cosine", 1000).inference_timesteps(n_steps)
    assert len(times) == min(n_steps, 1000)
    assert times[0] == 999 and times[-1] >= 0
    assert all(a > b for a, b in itertools.pairwise(times))


def toy_network(xt, t, labels):
    """Nonlinear in the rows and dependent on time and label."""
    return torch.tanh(xt) + (0.1 * labels - t / 1000).unsqueeze(-1)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_steps", [4, 10, 50])
def test_ddim_is_that_of_diffusers_step_for_step(prediction_type, eta, n_steps):
    # √ᾱ of the last cosine time is 5e-5: ε cannot say anything about x0 there.
    name = "linear" if prediction_type == "epsilon" else "cosine"
    theirs = diffusers_scheduler(name, prediction_type)
    theirs.set_timesteps(n_steps)
    labels = torch.arange(20) % 3
    expected = [normal(20, 6)]
    noise_source = generator(7)
    for t in theirs.timesteps:
        output = toy_network(expected[-1], t, labels)
        fresh = None
        if eta > 0 and t != theirs.timesteps[-1]:
            fresh = torch.empty(20, 6).normal_(generator=noise_source)
        step = theirs.step(
            output,
            t,
            expected[-1],
            eta=eta if fresh is not None else 0,
            variance_noise=fresh,
        )
        expected.append(step.prev_sample)

    schedule = NoiseSchedule.from_name(name, 1000)
    seen = []
    inner = denoised_by(toy_network, schedule, prediction_type)

    def denoise(xt, t, labels):
        seen.append(xt)
        return inner(xt, t, labels)

    rows = sample_ddim(
        denoise,
        schedule,
        labels,
        expected[0],
        n_steps=n_steps,
        eta=eta,
        generator=generator(7),
    )
    for ours, reference in zip([*seen, rows], expected, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)


MEANS = torch.tensor([[2.0, -1.0], [-1.0, 0.5]])
DEVIATIONS = torch.tensor([[0.3, 0.8], [0.5, 0.2]])


def gaussian_denoiser(schedule):
    """E[x0 | xt] for class-wise Gaussians with known means and deviations."""

    def denoise(xt, t, labels):
        signal, noise = schedule.rates(t)
        mean, variance = MEANS[labels], DEVIATIONS[labels] ** 2
        gain = signal * variance / (signal**2 * variance + noise**2)
        return mean + gain * (xt - signal * mean)

    return denoise


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_exact_denoiser_of_gaussians_gives_back_their_moments(eta):
    schedule = NoiseSchedule.from_name("cosine", 1000)
    labels = torch.arange(20_000) % 2
    rows = sample_ddim(
        gaussian_denoiser(schedule),
        schedule,
        labels,
        normal(20_000, 2),
        n_steps=100,
        eta=eta,
        generator=generator(1),
    )
    for label in range(2):
        of_class = rows[labels == label]
        # Four standard errors of 10,000 rows, and a hundred steps.
        torch.testing.assert_close(
            of_class.mean(0), MEANS[label], atol=4 * 0.8 / 100, rtol=0
        )
        torch.testing.assert_close(
            of_class.std(0), DEVIATIONS[label], atol=0.01, rtol=0.05
        )
        assert abs(torch.corrcoef(of_class.T)[0, 1]) < 0.05


def test_exact_denoiser_of_a_data_set_gives_back_its_rows():
    points = normal(12, 4, seed=3)
    schedule = NoiseSchedule.from_name("cosine", 1000)

    def denoise(xt, t, labels):
        signal, noise = schedule.rates(t)
        distance = torch.cdist(xt, signal * points) ** 2
        return torch.softmax(-distance / (2 * noise**2), dim=1) @ points

    rows = sample_ddim(denoise, schedule, torch.zeros(200), normal(200, 4), n_steps=100)
    nearest = torch.cdist(rows, points).min(dim=1)
    assert nearest.values.quantile(0.9) < 1e-3
    assert len(nearest.indices.unique()) > 6


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 2.5])
def test_guidance_mixes_with_and_without_label(scale):
    schedule = NoiseSchedule.from_name("cosine", 1000)
    denoise = denoised_by(toy_network, schedule, "v_prediction")
    xt, t, labels = normal(9, 4), torch.tensor(300), torch.arange(9) % 3
    free = denoise(xt, t, torch.full_like(labels, 5))
    expected = free + scale * (denoise(xt, t, labels) - free)
    torch.testing.assert_close(guided(denoise, scale, 5)(xt, t, labels), expected)
    per_row = guided(denoise, torch.full((9, 1), scale), 5)
    torch.testing.assert_close(per_row(xt, t, labels), expected)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_loss_is_the_formula_in_numpy(prediction_type):
    schedule = NoiseSchedule.from_name("cosine", 1000)
    x0, noise = normal(50, 3), normal(50, 3, seed=1)
    t, labels = torch.arange(50) * 20, torch.arange(50) % 4
    loss = denoising_loss(toy_network, schedule, x0, labels, t, noise, prediction_type)
    alpha_bar = np.cos((t.numpy() + 1 + 8) / 1008 * math.pi / 2) ** 2
    alpha_bar /= math.cos(8 / 1008 * math.pi / 2) ** 2
    a, s = np.sqrt(alpha_bar)[:, None], np.sqrt(1 - alpha_bar)[:, None]
    x, e = x0.numpy(), noise.numpy()
    target = {"epsilon": e, "sample": x, "v_prediction": a * e - s * x}
    output = np.tanh(a * x + s * e) + (0.1 * labels - t / 1000).numpy()[:, None]
    expected = np.mean((output - target[prediction_type]) ** 2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_rows_are_drawn_by_tempered_class_frequency(power):
    sizes = torch.tensor([1, 9, 90])
    starts = sizes.cumsum(0) - sizes
    rows, labels = draw_rows(starts, sizes, sizes.float() ** power, 40_000, generator())
    share = torch.bincount(labels) / len(labels)
    expected = sizes.float() ** power / (sizes.float() ** power).sum()
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)
    assert ((rows >= starts[labels]) & (rows < (starts + sizes)[labels])).all()
    assert len(rows[labels == 2].unique()) == 90


def test_a_random_number_of_one_draws_the_last_row(monkeypatch):
    # Torch promises numbers below 1; single precision may round them on a device.
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.ones(n))
    sizes = torch.tensor([1, 3, 50])
    ends = sizes.cumsum(0)
    rows, labels = draw_rows(ends - sizes, sizes, torch.ones(3), 100, generator())
    assert torch.equal(rows, ends[labels] - 1)


def make_denoiser(n_features=4, n_classes=3, seed=0):
    return Denoiser(
        n_features,
        n_classes,
        1000,
        hidden_dim=32,
        n_blocks=2,
        generator=generator(seed),
    )


def randomised(network, seed=1):
    """Give the layers that start at zero some weights."""
    source = generator(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=source)
    return network


def test_a_new_denoiser_predicts_zero_and_its_blocks_pass_rows_on():
    network = Denoiser(
        50, 3, 1000, hidden_dim=64, n_blocks=2, generator=generator()
    ).requires_grad_(False)
    xt, t, labels = normal(4000, 50), torch.arange(4000) % 1000, torch.arange(4000) % 4
    assert not network(xt, t, labels).any()
    h = network.inlet(xt)
    assert h.std().item() == pytest.approx(1, abs=0.05)
    for block in network.blocks:
        assert torch.equal(block(h, torch.ones(4000, 64), normal(4000, 64)), h)
        assert block.expand(h).std().item() == pytest.approx(1, abs=0.1)


def test_time_and_label_shift_rows_from_the_start_and_scale_none():
    network = make_denoiser().requires_grad_(False)
    for layer in (network.outlet, *(block.contract for block in network.blocks)):
        layer.weight[:] = normal(*layer.weight.shape)
    xt, t, labels = normal(10, 4), torch.arange(10) * 90, torch.arange(10) % 4
    free = copy.deepcopy(network)
    free.modulation.weight.zero_()  # neither may say a thing
    plain = free(xt, t, labels)
    torch.testing.assert_close(free(xt, t + 50, (labels + 1) % 4), plain)
    assert not torch.allclose(network(xt, t, labels), plain, atol=0.1)
    h = network.inlet(xt)
    for block in network.blocks:
        h = h + block.contract(torch.nn.functional.silu(block.expand(h)))
    expected = network.outlet(torch.nn.functional.layer_norm(h, (32,)))
    torch.testing.assert_close(plain, expected)
    told = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _, told_block: told.append(told_block))
    network(xt, t, labels)
    for _, scale, shift in told:
        assert (scale == 1).all()
        assert (shift.std(dim=0) > 0.1).all()


def test_every_weight_of_a_denoiser_counts():
    network = randomised(make_denoiser())
    network(
        normal(40, 4), torch.arange(40), torch.arange(40) % 4
    ).square().sum().backward()
    for name, weight in network.named_parameters():
        assert (weight.grad != 0).all(), name


def test_denoiser_depends_on_row_time_and_label_alone():
    network = randomised(make_denoiser())
    xt, t, labels = normal(10, 4), torch.arange(10) * 90, torch.arange(10) % 4
    together = network(xt, t, labels)
    assert together.shape == (10, 4)
    one_by_one = [
        network(xt[i : i + 1], t[i], labels[i : i + 1]) for i in range(len(xt))
    ]
    torch.testing.assert_close(torch.cat(one_by_one), together, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(network(xt, t + 50, labels), together, atol=1e-3)
    assert not torch.allclose(network(xt, t, (labels + 1) % 4), together, atol=1e-3)


@pytest.mark.parametrize("labels", [torch.arange(10) % 4, torch.tensor([3])])
def test_one_time_for_all_rows_is_the_same_time_for_each(labels):
    network = randomised(make_denoiser())
    xt = normal(10, 4)
    each = network(xt, torch.full((10,), 300), labels.expand(10))
    torch.testing.assert_close(network(xt, torch.tensor(300), labels), each)


def test_denoiser_without_blocks_is_a_map_of_rows_alone():
    network = randomised(
        Denoiser(4, 3, 1000, hidden_dim=8, n_blocks=0, generator=generator())
    )
    xt, t = normal(10, 4), torch.tensor(300)
    many = network(xt, t, torch.arange(10) % 4)
    with torch.no_grad():
        torch.testing.assert_close(network(xt, t, torch.tensor([2])), many)


def test_denoiser_in_bfloat16_keeps_times_apart():
    network = randomised(make_denoiser())
    xt, labels = normal(2000, 4), torch.arange(2000) % 4
    reduced = copy.deepcopy(network).to(torch.bfloat16)
    for t in (torch.tensor(0), torch.tensor(999), torch.arange(2000) % 1000):
        full = network(xt, t, labels)
        output = reduced(xt, t, labels)
        assert output.dtype == torch.float32
        assert (output - full).norm() < 0.02 * full.norm()


def training(network, x0, sizes, seed=0, **params):
    defaults = dict(
        n_steps=20,
        batch_size=64,
        learning_rate=4e-3,
        class_sampling=0.5,
        label_dropout=0.1,
        prediction_type="v_prediction",
    )
    return train(
        network,
        NoiseSchedule.from_name("cosine", 1000),
        x0,
        torch.tensor(sizes),
        generator=generator(seed),
        **{**defaults, **params},
    )


def test_training_is_seeded_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    x0 = normal(60, 4)
    weights = []
    for _ in range(2):
        network = make_denoiser()
        losses = torch.stack(list(training(network, x0, [30, 20, 10])))
        assert losses.shape == (20,) and losses.isfinite().all()
        weights.append(torch.nn.utils.parameters_to_vector(network.parameters()))
    torch.testing.assert_close(*weights, rtol=0, atol=2e-7)
    assert torch.equal(torch.get_rng_state(), state)


class Recorder(torch.nn.Module):
    """A network that keeps what it is shown."""

    null_label = 3

    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.ones(())), []

    def forward(self, xt, t, labels):
        self.seen.append((xt, t, labels))
        self.product_dtype = (xt @ xt.T).dtype
        return self.weight * xt


@pytest.mark.parametrize("label_dropout", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_training_shows_classes_and_labels_at_their_shares(power, label_dropout):
    network, sizes = Recorder(), [90, 9, 1]
    x0 = torch.arange(3.0).repeat_interleave(torch.tensor(sizes))[:, None]
    options = dict(label_dropout=label_dropout, n_steps=60, batch_size=100)
    list(training(network, x0, sizes, class_sampling=power, **options))
    labels = torch.cat([labels for *_, labels in network.seen])
    share = torch.bincount(labels, minlength=4) / len(labels)
    shown = torch.tensor(sizes) ** power
    kept = (1 - label_dropout) * shown / shown.sum()
    expected = torch.cat([kept, torch.tensor([label_dropout])])
    torch.testing.assert_close(share, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_training_multiplies_in_bfloat16_where_it_is_told_to(bfloat16):
    network = Recorder()
    (loss,) = training(network, normal(60, 4), [60], n_steps=1, bfloat16=bfloat16)
    expected = torch.bfloat16 if bfloat16 else torch.float32
    assert network.product_dtype == expected
    assert network.weight.dtype == loss.dtype == torch.float32


def test_training_shows_rows_at_times_spread_evenly_from_a_random_one():
    network = Recorder()
    list(training(network, torch.ones(60, 50), [60], n_steps=50, batch_size=40))
    schedule = NoiseSchedule.from_name("cosine", 1000)
    firsts = []
    for xt, t, _ in network.seen:
        ordered = t.sort().values
        assert (ordered.diff() - 25).abs().max() <= 1  # of rounding
        firsts.append(ordered[0].item())
        signal, noise = schedule.rates(t)
        left = (xt - signal) / noise
        assert left.mean().item() == pytest.approx(0, abs=0.1)
        assert left.std().item() == pytest.approx(1, abs=0.1)
    assert len(set(firsts)) > 15 and min(firsts) < 3 and 21 < max(firsts) < 26


@pytest.mark.parametrize(
    ("prediction_type", "bfloat16"),
    [*((name, False) for name in PREDICTION_TYPES), ("v_prediction", True)],
)
def test_training_approaches_the_loss_of_the_exact_denoiser(prediction_type, bfloat16):
    schedule = NoiseSchedule.from_name("cosine", 1000)
    labels = torch.arange(4000).sort().values * 2 // 4000
    x0 = MEANS[labels] + DEVIATIONS[labels] * normal(4000, 2)
    network = Denoiser(2, 2, 1000, hidden_dim=64, n_blocks=2, generator=generator())
    steps = training(
        network,
        x0,
        [2000, 2000],
        n_steps=400,
        batch_size=256,
        label_dropout=0.0,
        prediction_type=prediction_type,
        bfloat16=bfloat16,
    )
    first = next(steps)
    for _ in steps:
        pass
    exact = gaussian_denoiser(schedule)
    t = torch.arange(4000) % 900  # ε says nothing of x0 at the last times
    xt = schedule.add_noise(x0, normal(4000, 2, seed=5), t)
    denoise = denoised_by(network, schedule, prediction_type)
    with torch.no_grad():
        difference = denoise(xt, t, labels) - exact(xt, t, labels)
        spread = x0.var(0).sum()
    assert first > 0.1
    assert difference.square().sum(1).mean() < 0.05 * spread


@pytest.mark.parametrize("n_steps", [1, 2, 7, 300])
def test_learning_rates_are_those_of_one_cycle(n_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, total_steps=n_steps, cycle_momentum=False
    )
    expected = []
    for step in range(n_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < n_steps:
            schedule.step()
    assert one_cycle(n_steps, 4e-3) == pytest.approx(expected, rel=1e-9)


def test_without_gradients_one_label_gives_the_same_rows_in_place():
    network = randomised(make_denoiser())
    xt, t, label = normal(10, 4), torch.tensor(300), torch.tensor([2])
    before = xt.clone()
    with torch.no_grad():
        rows = network(xt, t, label)
    torch.testing.assert_close(rows, network(xt, t, label))
    assert torch.equal(xt, before)


def test_weights_move_as_those_of_torchs_adamw():
    generator = torch.Generator().manual_seed(0)
    start = [
        torch.randn(3, 4, generator=generator),
        torch.randn(5, generator=generator),
    ]
    ours = [torch.nn.Parameter(weight.clone()) for weight in start]
    theirs = [torch.nn.Parameter(weight.clone()) for weight in start]
    update = _AdamW(ours)
    optimizer = torch.optim.AdamW(theirs, weight_decay=0.1)
    for rate in (0.1, 0.03, 0.2):
        gradients = [torch.randn(w.shape, generator=generator) for w in start]
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        update(gradients, rate)
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours[0], start[0])


def test_training_does_not_load_the_compiler():
    code = (
        "import sys, numpy as np, ldmlr_sklearn as l\n"
        "X, y = np.random.default_rng(0).normal(size=(12, 2)), [0] * 8 + [1] * 4\n"
        "l.LatentDiffusionOversampler(max_steps=2).fit_resample(X, y)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Gaussian classes in closed form


def gaussian_classes(n_features, n_axes, n_classes=3):
    """Return a mixture and its covariance (d, d)."""
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(n_classes, n_features, generator=generator)
    basis, _ = torch.linalg.qr(torch.randn(n_features, n_features, generator=generator))
    variances, rest = torch.linspace(0.2, 2, n_axes), torch.tensor(0.1)
    axes = basis[:, :n_axes].contiguous()
    log_prior = torch.log(torch.arange(1.0, n_classes + 1))
    full = (axes * (variances - rest)) @ axes.T + rest * torch.eye(n_features)
    return GaussianMixture(means, axes, variances, rest, log_prior), full


@pytest.mark.parametrize("n_axes", [2, 5])
@pytest.mark.parametrize("step", [0, 300, 999])
@pytest.mark.parametrize("scale", [0.0, 0.35, 1.0, 1.5])
def test_gaussian_classes_are_denoised_as_the_score_of_their_density_says(
    scale, step, n_axes
):
    mixture, covariance = gaussian_classes(5, n_axes)
    schedule = NoiseSchedule.from_name("cosine", 1000)
    signal, noise = schedule.signal[step], schedule.noise[step]
    noisy = torch.distributions.MultivariateNormal(
        signal * mixture.means, signal**2 * covariance + noise**2 * torch.eye(5)
    )
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    xt = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    densities = noisy.log_prob(xt[:, None])  # (6, 3)

    def by_score(log_density):
        (score,) = torch.autograd.grad(log_density.sum(), xt, retain_graph=True)
        return (xt + noise**2 * score) / signal

    of_class = by_score(densities[torch.arange(6), labels])
    of_any = by_score((densities + mixture.log_prior).logsumexp(1))
    expected = (of_any + scale * (of_class - of_any)).detach()
    denoise = mixture.denoised_by(schedule, scale)
    found = denoise(xt.detach(), torch.tensor(step), labels)
    tolerance = dict(rtol=1e-3, atol=1e-3 / signal.item())
    torch.testing.assert_close(found, expected, **tolerance)
    one = denoise(xt.detach()[:1], torch.tensor(step), labels[:1])
    torch.testing.assert_close(one, found[:1])
