"""Reads an Arrow stream with Arrow's own library, by way of a Parquet file, and prints it as JSON."""

import json
import sys

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

table = pyarrow.ipc.open_stream(sys.argv[1]).read_all()
table.validate(full=True)
pyarrow.parquet.write_table(table, sys.argv[1] + ".parquet")
read = pyarrow.parquet.read_table(sys.argv[1] + ".parquet")
assert read.equals(table), "Parquet holds something else"
columns = {
    field.name: {
        "type": str(field.type),
        "nullable": field.nullable,
        # Nanoseconds are more than a Python datetime can say.
        "values": (
            read.column(field.name).cast(pyarrow.int64()) if pyarrow.types.is_timestamp(field.type)
            else read.column(field.name)
        ).to_pylist(),
    }
    for field in table.schema
}
about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
json.dump({"columns": columns, "about": about, "rows": table.num_rows}, sys.stdout)
