// A register tile of an output, as shaders with ROW_BLOCKS and COLUMN_BLOCKS have it.

/// [pair of column blocks][left, right][row block]: a matrix's columns are rows of the output, four of its columns each.
/// Drivers keep a tile in registers where they unroll every loop over it; Mesa does where a loop runs over all of an array.
alias Tile = array<Pair, COLUMN_PAIRS>;
const COLUMN_PAIRS = COLUMN_BLOCKS / 2u;

alias Blocks = array<mat4x4f, ROW_BLOCKS>;

struct Pair {
    left: Blocks,
    right: Blocks,
}
