// A register tile of 8 rows by 64 columns, in blocks of four by four.
const ROW_BLOCKS = 2u;
const COLUMN_BLOCKS = 16u;
