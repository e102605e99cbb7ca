"""Which code a result depends on, and what is said of its making."""

import importlib.util
import json
from pathlib import Path

import pytest

from ethical_compression import kept_tables, provenance
from ethical_compression.errors import InputError


def test_a_result_depends_on_the_code_that_its_module_reaches_and_on_no_other():
    root = Path(provenance.__file__).parent
    name = "ethical_compression.metrics.confidence"
    reached = provenance._reached("ethical_compression.score.subjects", root)
    # Directly, through another module, and within a function.
    for part in ("score/loglikelihood.py", "kernels/blocks_torch.py", "models/causal.py"):
        assert root / part in reached
    assert root / "compress/gptq.py" not in provenance._reached(name, root)
    assert provenance.code_version(name) != provenance.code_version()
    assert provenance.code_version("__main__") == provenance.code_version()


def test_the_code_of_a_function_is_that_of_its_module_or_of_the_file_that_holds_it(tmp_path):
    own = provenance.code_of(kept_tables.benchmarks)
    assert own == provenance.code_version("ethical_compression.kept_tables")
    codes = []
    for number in (1, 2):
        file = tmp_path / f"given_{number}.py"
        file.write_text(f"NUMBER = {number}\n\n\ndef given():\n    return NUMBER\n")
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        codes.append(provenance.code_of(module.given))
    # The function itself is the same: what it reads is not.
    assert len({*codes, provenance.code_version()}) == 3
    with pytest.raises(InputError, match="The source of len cannot be read"):
        provenance.code_of(len)


def test_a_source_that_is_missing_is_an_error_and_no_gap_in_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "SCIENCE", ("models", "gone"))
    provenance.code_version.cache_clear()
    with pytest.raises(InputError, match=r"gone is missing from .*install the package again"):
        provenance.code_version()
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"no source of ethical_compression\.gone"):
        provenance.code_version("ethical_compression.gone")


def test_provenance_says_what_ran_where():
    found = provenance.provenance()
    assert found["packages"]["torch"]
    assert found["hardware"]["cores"] >= 1
    json.dumps(found)
