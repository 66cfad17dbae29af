from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convcost.grids.configuration_file import read_configuration
from convcost.grids.encoding import SAMPLE_ROWS, file_options
from convcost.grids.grid import Grid
from convcost.grids.parts import parquet
from convcost.grids.prediction import plain_table, predict

AXES = {"c": [8, 16, 24], "o": [8, 16], "k": [1, "3x5"], "h": [7, 14], "m": [1, 2], "stride": [1, 2], "groups": [1, 2]}


def parts(**options):
    configuration = read_configuration({"axes": AXES} | options)
    return [(predict(configuration, part).table) for part in Grid(configuration).parts(rows=50)]


def written(table):
    return parquet(table, {})


def test_a_file_holds_the_values_of_its_table_in_plain_types():
    [schema] = {written_schema(table) for table in parts()}
    assert {str(one.type) for one in schema} == {"int64", "double", "string"}
    for table in parts():
        assert pq.read_table(BytesIO(written(table))).equals(plain_table(table))


def written_schema(table):
    return pq.read_schema(BytesIO(written(table))).remove_metadata()


def test_pandas_reads_plain_numbers_and_texts():
    frame = pq.read_table(BytesIO(written(parts(blocks=["standard"])[0]))).to_pandas()
    assert {frame[name].dtype.name for name in ("macs", "in_channels")} == {"int64"}
    assert frame["macs_ratio"].dtype == "float64"
    assert isinstance(frame["kernel_size"].iloc[0], str)
    assert not any(str(dtype) == "category" for dtype in frame.dtypes)


def test_every_part_has_the_same_schema_also_with_rows_that_are_refused():
    assert len({written_schema(table) for table in parts(illegal="rows", baseline="ghost", where=["c > 8"])}) == 1


def test_a_file_has_the_same_bytes_whoever_writes_it():
    assert list(map(written, parts())) == list(map(written, parts()))


def test_numbers_are_plain_where_zstd_finds_long_patterns_and_packed_elsewhere():
    rows = 4 * SAMPLE_ROWS
    pattern = np.random.default_rng(0).integers(1, 10**9, size=64)
    columns = {"steps": np.arange(rows), "repeats": np.resize(pattern, rows), "share": np.arange(rows) / 7}
    table = pa.table(columns)
    assert file_options(table)["column_encoding"] == {"steps": "DELTA_BINARY_PACKED", "share": "BYTE_STREAM_SPLIT"}
    assert pq.read_table(BytesIO(written(table))).equals(table)


def test_columns_that_never_lack_a_value_say_so():
    schema = written_schema(parts(blocks=["depthwise"])[0])
    lacking = [one.name for one in schema if one.nullable]
    assert lacking == ["expansion", "mid_channels"]
