// A register tile of 32 rows by 8 columns, in blocks of four by four.
const ROW_BLOCKS = 8u;
const COLUMN_BLOCKS = 2u;
