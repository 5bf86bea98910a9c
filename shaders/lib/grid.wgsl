// Invocations numbered through a grid: where a row of it may not hold all workgroups, there are several rows.

const LANES = 64u;

fn flat(id: vec3u, groups: vec3u) -> u32 {
    return id.y * groups.x * LANES + id.x;
}
