// A register tile of 64 rows by 8 columns, in blocks of four by four.
const ROW_BLOCKS = 16u;
const COLUMN_BLOCKS = 2u;
