// A step's numbers, shared by all kernels. The batch lies in one buffer of words, in sections whose starts are here.
// Where the device holds the data set, `gather` fills the sections of values: dense, labels and masks.

struct Step {
    rows: u32,
    step: u32,           // counted from 1
    tasks: u32,
    dense_fields: u32,
    dense: u32,          // [rows, dense_fields] floats
    labels: u32,         // [rows, tasks] floats
    masks: u32,          // [rows, tasks] floats, 1 or 0
    scales: u32,         // [tasks] floats: weight / samples in the mask, or 0
    bag_starts: u32,     // in ids, of bag number field * rows + row; one more than bags
    ids: u32,            // numbers of segments, bag after bag
    segment_rows: u32,   // of each segment, a distinct table row that the batch holds: its first vec4 in the tables
    segment_widths: u32, // and its vec4s
    segment_starts: u32, // in segment_bags; one more than segments
    segment_bags: u32,   // the bags that hold the row, ascending
    order: u32,          // [rows] numbers of rows in the data set that the device holds
    widest: u32,         // vec4s of the widest table's vectors
    slots: u32,          // parts of the batch that weight gradients are summed over
    slot_rows: u32,      // rows in a slot
    dense_length: u32,   // of the dense block, in vec4s
    slot_stride: u32,    // of the input slot, in vec4s
    drop_below: u32,     // dropout sets elements to 0 whose random number is below; 0 where nothing is dropped
    drop_scale: f32,     // and multiplies the others by this
    drop_key: vec2u,     // of the random numbers
    optimizer: Constants, // of the dense parameters
}

/// What an optimizer's formula computes with in a step.
struct Constants {
    rate: f32,     // the learning rate; for Adam / (1 - beta1^step)
    root: f32,     // Adam: 1 / sqrt(1 - beta2^step)
    eps: f32,
    momentum: f32,
    decay: f32,    // share of the parameter that is added to its gradient
    keep: f32,     // share of the parameter that AdamW's decay leaves
    counts: f32,   // 1 where its gradients count in the norm that clips; 0 of a frozen table
    padding: f32,
    betas: vec4f,  // beta1, beta2, 1 - beta1, 1 - beta2
}
