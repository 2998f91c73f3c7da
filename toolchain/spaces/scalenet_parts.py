"""The parts of ScaleNets: what each digit of a genotype runs, without a graph.

A digit stands for one step of one branch: a residual block, then the fusions into the branch. What
it runs depends on the branch and the digit alone, for a branch has the same shape in all modules.
All the rest is the same in every network of a space.

A head that reads branch 0 alone leaves some of the last module unread, and what is not read does
not run: of the other branches, what they fuse after the last step of branch 0, and all of their
later steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from latency_tables.kernel import Kernel
from toolchain.kernels import plan
from toolchain.spaces.scalenet import ScaleNetSpace
from toolchain.spaces.scalenet_heads import HEADS
from toolchain.spaces.scalenet_module import parse_modules

MOST_WORDS = 200_000
"""Words of a branch that are kept: one of 4 branches and 5 steps has 37,448."""


class ScaleNetParts:
    """Parts of the networks of a ScaleNet space.

    Attributes:
        kernels: of each part, by its number; the first is what all networks have in common.
    """

    def __init__(self, space: ScaleNetSpace) -> None:
        smallest = space.smallest()
        self._space = space
        self._reads_all = HEADS[space.head].reads_all_branches
        self.kernels: list[tuple[Kernel, ...]] = [()]
        words = {
            branches: [_Words(self.kernels, space, branches, branch) for branch in range(branches)]
            for branches in set(space.branch_counts)
        }
        self._modules = [words[branches] for branches in space.branch_counts]
        common = Counter(plan(space.decode(smallest)).kernels)
        for number in self._read(smallest):
            common.subtract(self.kernels[number])
        assert min(common.values()) >= 0, "the smallest network runs each of its parts"
        self.kernels[0] = tuple(common.elements())

    def numbers(self, genotype: str) -> list[int]:
        """Numbers of the parts of a network.

        Raises:
            GenotypeInvalid: the text stands for no network of the space.
        """
        try:
            return self._read(genotype)
        except _Impossible:
            self._space.decode(genotype)  # Knows what is wrong.
            raise AssertionError(
                f"{genotype!r} can be decoded, but its parts cannot be told"
            ) from None

    def _read(self, genotype: str) -> list[int]:
        """Numbers of the parts.

        Raises:
            _Impossible: the text stands for no network of the space.
        """
        numbers = [0]
        texts = genotype.split("/")
        if len(texts) != len(self._modules):
            raise _Impossible
        for branches, text in zip(self._modules, texts, strict=True):
            words = text.split(".")
            if len(words) != len(branches):
                raise _Impossible
            for known, word in zip(branches, words, strict=True):
                numbers += known[word]
        if not self._reads_all:
            unread = sum(map(len, words))
            del numbers[len(numbers) - unread :]
            for known, word in zip(branches, _that_runs(words), strict=True):
                numbers += known.parts(word)
        return numbers


class _Impossible(Exception):
    """A text that is no genotype of the space."""


class _Words(dict[str, tuple[int, ...]]):
    """For each word of one branch, read when it is first met, the parts of its digits."""

    def __init__(
        self, kernels: list[tuple[Kernel, ...]], space: ScaleNetSpace, branches: int, branch: int
    ) -> None:
        """Work out what each digit runs.

        Args:
            kernels: takes the kernels of the parts.
            space: the space.
            branches: of the modules.
            branch: which one.
        """
        super().__init__()
        self._depths = range(space.min_depth, space.max_depth + 1)
        digits = [mask for mask in range(1 << branches) if not mask >> branch & 1]
        self._numbers = {f"{mask:x}": len(kernels) + n for n, mask in enumerate(digits)}
        kernels += [_step(space, branches, branch, f"{mask:x}") for mask in digits]

    def __missing__(self, word: str) -> tuple[int, ...]:
        """Read a word.

        Raises:
            _Impossible: a digit is none of this branch, or there are too many or too few.
        """
        if len(word) not in self._depths or not self._numbers.keys() >= set(word):
            raise _Impossible
        if len(self) >= MOST_WORDS:
            self.clear()
        self[word] = result = self.parts(word)
        return result

    def parts(self, word: str) -> tuple[int, ...]:
        """Numbers of the parts of a word's digits, however many there are."""
        return tuple([self._numbers[digit] for digit in word])


def _step(space: ScaleNetSpace, branches: int, branch: int, digit: str) -> tuple[Kernel, ...]:
    """The kernels of a step: those of a network with it that one without it lacks."""
    free = replace(space, head="classification", min_depth=1, max_depth=2)
    modules = list(parse_modules(free.smallest()))
    index = free.branch_counts.index(branches)
    without = Counter(plan(free.decode(free.genotype(modules))).kernels)
    words = ["0"] * branches
    words[branch] += digit
    (modules[index],) = parse_modules(".".join(words))
    return tuple((Counter(plan(free.decode(free.genotype(modules))).kernels) - without).elements())


def _that_runs(words: list[str]) -> Iterable[str]:
    """The words of the last module without what a head that reads branch 0 alone leaves unread.

    Raises:
        _Impossible: the last steps are not what such a head fixes.
    """
    first, *others = words
    everything = f"{(1 << len(words)) - 2:x}"
    if first[-1] != everything or any(word[-1] != "0" for word in others):
        raise _Impossible
    before = len(first) - 1
    yield first
    for word in others:
        yield word[:before] + ("0" if len(word) > before else "")
