//! The shaders that ship keep to what `lint` allows, and `lint` finds what it should.

use std::collections::BTreeMap;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use polygate::gpu::validator;
use polygate::kernels::{Source, kernels};

use crate::lint::{COMPONENT, Finding, ITSELF, inspect};

/// What a shader does that it may not, each with its file and line.
fn findings(source: &Source) -> Vec<String> {
    let wgsl = source.wgsl();
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let info = validator(source).validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let described = |finding: Finding| {
        let place = finding.span.location(&wgsl);
        let (file, line) = source.file_and_line(place.line_number as usize);
        format!("{file}:{line}: {}: {}", finding.what, &wgsl[finding.span.to_range().unwrap_or_default()])
    };
    inspect(&module, &info).into_iter().map(described).collect()
}

/// Every shader of the table, by its text.
fn sources() -> BTreeMap<String, Source> {
    kernels().map(|kernel| (kernel.source.wgsl(), kernel.source)).collect()
}

#[test]
fn every_shader_keeps_to_what_all_compilers_take() {
    let mut found: Vec<String> = sources().values().flat_map(findings).collect();
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{}", found.join("\n"));
    println!("WGSL: {} shaders pass", sources().len());
}

/// What is found in a function of these statements, by line of the statements.
fn found_in(statements: &str) -> Vec<(&'static str, usize)> {
    let wgsl = format!(
        "struct Two {{ v: vec4f, m: mat4x4f }} \
         @group(0) @binding(0) var<storage, read_write> data: array<vec4f>; \
         var<workgroup> shared_data: array<Two, 2>; \
         override O = 1u; const C = 1u; \
         @compute @workgroup_size(1) fn main(@builtin(local_invocation_index) i: u32) {{ \
         var v = data[i]; var m = mat4x4f(v, v, v, v); var two = shared_data[i]; var x = v.x; \
         {statements}\n\
         data[i] = v + m[0] + two.v + x; }}"
    );
    let module = naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&wgsl)));
    let place = |finding: Finding| (finding.what, finding.span.location(&wgsl).line_number as usize);
    inspect(&module, &info).into_iter().map(place).collect()
}

#[test]
fn a_component_written_at_an_index_known_at_run_time_is_found() {
    for statements in [
        "v[i] = 1.0;",
        "v[i] += 1.0;",
        "let p = &v; (*p)[i] = 1.0;",
        "m[1][i] = 1.0;",
        "m[i][i] = 1.0;",
        "two.v[i] = 1.0;",
        "two.m[2][i] = 1.0;",
        "data[i][i] = 1.0;",
        "shared_data[i].v[i] = 1.0;",
        "var k = 0u; v[k] = 1.0;",
        "v[O + i] = 1.0;",
        "if x > 0.0 { } else { v[i] = 1.0; }",
        "switch i { case 0u: { } default: { v[i] = 1.0; } }",
        "for (var k = 0u; k < 4u; k++) { v[k] = x; }",
        "loop { if x > 1.0 { break; } continuing { v[i] = 1.0; } }",
        "{ { v[i] = 1.0; } }",
    ] {
        assert_eq!(found_in(statements), [(COMPONENT, 1)], "{statements}");
    }
    let second = found_in("x = 2.0;\n v[i] = x;\n x = 3.0;\n m[0][i] = x;");
    assert_eq!(second, [(COMPONENT, 2), (COMPONENT, 4)]);
}

#[test]
fn components_read_and_components_known_before_may_stand() {
    for statements in [
        "v[0] = 1.0;",
        "v[C] = 1.0;",
        "v[O] = 1.0;",
        "v.x = v[i];",
        "let k = 2u; v[k] = 1.0;",
        "m[i] = v;",
        "m[0][1] = 1.0;",
        "data[i].x = 1.0;",
        "data[i] = v;",
        "shared_data[i].m[2] = v;",
        "v = select(v, vec4f(x), vec4u(0u, 1u, 2u, 3u) == vec4u(i));",
    ] {
        assert_eq!(found_in(statements), [], "{statements}");
    }
}

#[test]
fn a_float_compared_with_itself_is_found() {
    for statements in [
        "if x != x { v.y = 0.0; }",
        "if x == x { v.y = 0.0; }",
        "if !(x == x) { v.y = 0.0; }",
        "let y = x; if y != y { v.y = 0.0; }",
        "if any(v != v) { v.y = 0.0; }",
        "v = select(v, vec4f(), v.xyzw != v.xyzw);",
        "if v[i] != v[i] { v.y = 0.0; }",
        "if data[i].x != data[i].x { v.y = 0.0; }",
        "if m[1][2] != m[1][2] { v.y = 0.0; }",
        "if (x + 1.0) != (x + 1.0) { v.y = 0.0; }",
        "if max(x, v.y) != max(x, v.y) { v.y = 0.0; }",
        "if -x != -x { v.y = 0.0; }",
        "if f32(i) == f32(i) { v.y = 0.0; }",
        "for (var k = 0u; x == x && k < 4u; k++) { v.y = 0.0; }",
        "let p = &x; if *p != x { v.y = 0.0; }",
    ] {
        assert_eq!(found_in(statements), [(ITSELF, 1)], "{statements}");
    }
}

#[test]
fn other_comparisons_may_stand() {
    for statements in [
        "if x != v.x { v.y = 0.0; }",
        "if v.x != v.y { v.y = 0.0; }",
        "if x < x { v.y = 0.0; }",
        "if i != i { v.y = 0.0; }",
        "if all(bitcast<vec4u>(v) == bitcast<vec4u>(v)) { v.y = 0.0; }",
        "let before = x; x += 1.0; if before != x { v.y = 0.0; }",
        "let before = data[i].x; data[i] = v; if before != data[i].x { v.y = 0.0; }",
        "if v[i] != v[i + 1u] { v.y = 0.0; }",
    ] {
        assert_eq!(found_in(statements), [], "{statements}");
    }
}

/// In a shader's own file and in a library file behind it.
#[test]
fn a_fault_in_a_shader_is_found_with_its_file_and_line() {
    let sources = sources();
    let source = sources.values().find(|source| source.name == "clip").unwrap();
    for file in ["shaders/clip.wgsl", "shaders/lib/grid.wgsl"] {
        let text = std::fs::read_to_string(file).unwrap();
        let (line, head) = text.lines().enumerate().find(|(_, line)| line.ends_with(" {")).unwrap();
        let faults = "fn faults(x: f32, i: u32) -> vec4f {\nvar v = vec4f(f32(x != x));\nv[i] = x;\nreturn v;\n}\n";
        let faulty = source.with(head, &format!("{faults}{head}")).unwrap();
        let expected =
            [format!("{file}:{}: {ITSELF}: x != x", line + 2), format!("{file}:{}: {COMPONENT}: v[i] = x", line + 3)];
        assert_eq!(findings(&faulty), expected);
    }
}
