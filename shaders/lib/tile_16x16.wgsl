// A register tile of 16 rows by 16 columns, in blocks of four by four.
const ROW_BLOCKS = 4u;
const COLUMN_BLOCKS = 4u;
