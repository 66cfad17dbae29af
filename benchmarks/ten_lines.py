"""The reference for start-up times: ten lines of typer that print one rich table."""

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer()


@app.command()
def main(number: int = 3) -> None:
    """Print a table of one cell."""
    table = Table(title="one table")
    table.add_column("number")
    table.add_row(str(number))
    Console().print(table)


app()
