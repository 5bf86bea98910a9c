#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: usize,
    pub dense: Vec<f32>,
    pub bag_starts: Vec<u32>,
    pub ids: Vec<u32>,
    pub labels: Vec<f32>,
    pub masks: Vec<f32>,
    pub segments: Segments,
}
#[derive(Clone, Debug, Default)]
pub struct Segments { pub tables: Vec<u32>, pub rows: Vec<u32>, pub starts: Vec<u32>, pub bags: Vec<u32> }
