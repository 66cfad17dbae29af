"""The terminal table and every export, all from the columns of `convcost.columns`."""
