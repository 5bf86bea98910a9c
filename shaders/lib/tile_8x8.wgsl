// A register tile of 8 rows by 8 columns, in blocks of four by four.
const ROW_BLOCKS = 2u;
const COLUMN_BLOCKS = 2u;
