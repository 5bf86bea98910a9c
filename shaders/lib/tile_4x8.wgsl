// A register tile of 4 rows by 8 columns, in blocks of four by four.
const ROW_BLOCKS = 1u;
const COLUMN_BLOCKS = 2u;
