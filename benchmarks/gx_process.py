"""Great Expectations with the checks of ``gate``, in a process and an environment of its own (``gx``).

Belongs here: the suite, and validating one frame again and again when told to. Does not belong here: timing.
Invariant: imports nothing of this project, which is not installed where this runs; the frame is read before the first
answer.

    python -I benchmarks/gx_process.py FRAME.parquet

Says ``ready``, then answers each line of standard input, ``summary`` or ``rows``, with the number of broken rows that
it has in hand (none for ``summary``).
"""

import sys

import great_expectations as gx  # type: ignore[import-not-found]  # only in the environment that gx.py makes
import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]  # same

expect = gx.expectations
SUITE = gx.ExpectationSuite(
    name="flights",
    expectations=[
        expect.ExpectColumnValuesToBeBetween(column="delay_min", min_value=-60),
        expect.ExpectColumnValuesToBeBetween(column="wind_speed_mph", min_value=0, max_value=250),
        expect.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"]),
        expect.ExpectColumnValuesToBeBetween(column="distance_mi", min_value=0, max_value=6000),
        expect.ExpectColumnValueLengthsToBeBetween(column="tail", min_value=1, max_value=8),
        *(
            expect.ExpectColumnValuesToNotBeNull(column=column)
            for column in ("delay_min", "origin", "distance_mi", "tail", "flight")
        ),
    ],
)

FORMATS = {
    "summary": {"result_format": "SUMMARY"},
    # Without the query: a string of all positions that nobody reads.
    "rows": {"result_format": "COMPLETE", "return_unexpected_index_query": False},
}


def main() -> None:
    """Answer until standard input ends."""
    frame = pd.read_parquet(sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("flights")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        batch = whole.get_batch({"dataframe": frame})
        result = batch.validate(SUITE, result_format=FORMATS[line.strip()])
        if any(one.exception_info["raised_exception"] for one in result.results):
            raise SystemExit(str(result))
        broken = frame.loc[frame.index.isin(_positions(result))]
        print(len(broken), file=answers, flush=True)


def _positions(result: "gx.core.ExpectationSuiteValidationResult") -> set[int]:
    return {position for one in result.results for position in one.result.get("unexpected_index_list") or ()}


if __name__ == "__main__":
    main()
