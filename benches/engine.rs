//! The kernels of the engine, on made-up models that live in memory.
#![allow(missing_docs)]

use std::hint::black_box;
use std::io::Cursor;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use onecopy::{
    AlignedBytes, ArrayId, ArrayInfo, Boosted, BoostedKind, BoostedLink, Codec, Dtype, Encoding, Float,
    Forest, ForestKind, Head, LeafNumbers, Method, Model, Op, Order, Parts, Plan, Role, RunOptions,
    TreeLayout, Trees, Writer,
};

const FEATURES: u32 = 32;
/// Bits of a feature number in a node over 32 features.
const FEATURE_BITS: u32 = 6;

/// Reproducible noise.
struct Noise(u64);

impl Noise {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    /// Between -1 and 1.
    fn float(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn key(x: f32) -> u64 {
    let bits = (x + 0.0).to_bits();
    u64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

/// A complete tree of `depth`, each pair of siblings behind the last in depth-first order.
fn grow(depth: u32, encoding: Encoding, noise: &mut Noise, nodes: &mut Vec<u64>) {
    let root = nodes.len();
    nodes.push(0);
    let mut stack = vec![(root, depth)];
    while let Some((at, depth)) = stack.pop() {
        if depth == 0 {
            nodes[at] = (noise.word() % 64) | (u64::from(FEATURES) << 35);
            continue;
        }
        let left = nodes.len();
        let feature = noise.word() % u64::from(FEATURES);
        let threshold = match encoding {
            Encoding::Keys => key(noise.float() * 0.5),
            Encoding::Ranks { .. } => 64 + noise.word() % 128,
        };
        nodes[at] = threshold | (feature << 35) | (((left - at) as u64) << (35 + FEATURE_BITS));
        nodes.extend([0, 0]);
        stack.extend([(left + 1, depth - 1), (left, depth - 1)]);
    }
}

struct File(Writer<Cursor<Vec<u8>>>);

impl File {
    fn array(&mut self, name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> ArrayId {
        let info = ArrayInfo { dtype, shape: shape.to_vec(), order: Order::C };
        self.0.array(name, &info, Role::Predict, &mut &bytes[..]).unwrap()
    }

    fn finish(self, op: Op) -> Model<AlignedBytes> {
        let plan = Plan::Native { ops: vec![op], members: vec![] }.encode();
        let (file, _) = self.0.finish(&Parts { graph: &[], plan: &plan, metadata: &[] }).unwrap();
        Model::from_bytes(AlignedBytes::copy_from(&file.into_inner())).unwrap()
    }
}

fn new_file() -> File {
    File(Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap())
}

/// Complete trees of one depth, averaged.
fn forest(n_trees: u32, depth: u32) -> Model<AlignedBytes> {
    let mut file = new_file();
    let head = Head::Forest(Forest {
        n_outputs: 1,
        max_classes: 1,
        classes: vec![],
        average: true,
        divisor: None,
        kind: ForestKind::Means,
    });
    let layout = layout(&mut file, n_trees, depth, Encoding::Keys);
    file.finish(trees_of("RandomForestRegressor", n_trees, Float::F32, head, layout))
}

/// Complete trees of one depth over `float64`, added up.
fn boosted(n_trees: u32, depth: u32) -> Model<AlignedBytes> {
    let mut file = new_file();
    let thresholds: Vec<f64> =
        (0..FEATURES).flat_map(|_| (0..255).map(|i| f64::from(i) / 128.0 - 1.0)).collect();
    let starts: Vec<u32> = (0..=FEATURES).map(|feature| feature * 255).collect();
    let encoding = Encoding::Ranks {
        thresholds: file.array(
            "thresholds",
            Dtype::F64,
            &[thresholds.len() as u64],
            bytemuck::cast_slice(&thresholds),
        ),
        starts: file.array("starts", Dtype::U32, &[starts.len() as u64], bytemuck::cast_slice(&starts)),
    };
    let layout = layout(&mut file, n_trees, depth, encoding);
    let head = Head::Boosted(Boosted {
        columns: 1,
        parallel: 1,
        sum: Float::F64,
        start: file.array("start", Dtype::F64, &[1], &[0; 8]),
        mean_of: None,
        link: BoostedLink::Identity,
        kind: BoostedKind::Regressor,
        apply: LeafNumbers::default(),
    });
    file.finish(trees_of("HistGradientBoostingRegressor", n_trees, Float::F64, head, layout))
}

fn layout(file: &mut File, n_trees: u32, depth: u32, encoding: Encoding) -> TreeLayout {
    let (mut noise, mut nodes, mut roots) = (Noise(1), Vec::new(), vec![0u64]);
    for _ in 0..n_trees {
        grow(depth, encoding, &mut noise, &mut nodes);
        roots.push(nodes.len() as u64);
    }
    let leaves: Vec<f64> = (0..64).map(|_| f64::from(noise.float())).collect();
    let depths = vec![depth as u8; n_trees as usize * 2];
    let n_nodes = nodes.len() as u64;
    TreeLayout::Compact {
        encoding,
        categories: None,
        zero_missing: None,
        nodes: file.array("nodes", Dtype::U64, &[n_nodes], bytemuck::cast_slice(&nodes)),
        wide: false,
        roots: file.array("roots", Dtype::U64, &[roots.len() as u64], bytemuck::cast_slice(&roots)),
        leaves: file.array("leaves", Dtype::F64, &[64, 1], bytemuck::cast_slice(&leaves)),
        missing: None,
        depths: Some(file.array("depths", Dtype::U8, &[u64::from(n_trees), 2], &depths)),
        crowns: None,
        subtrees: None,
        origin: file.array("origin", Dtype::U32, &[n_nodes], &vec![0; nodes.len() * 4]),
        shared: false,
    }
}

fn trees_of(estimator: &str, n_trees: u32, input: Float, head: Head, layout: TreeLayout) -> Op {
    Op::Trees(Trees {
        nan_allowed: true,
        ..Trees::new(estimator.to_owned(), input, FEATURES, n_trees, head, layout)
    })
}

fn linear(n_features: u32, n_outputs: u32) -> Model<AlignedBytes> {
    let mut noise = Noise(2);
    let mut floats = |n: u32| (0..n).map(|_| f64::from(noise.float())).collect::<Vec<f64>>();
    let (coef, intercept) = (floats(n_features * n_outputs), floats(n_outputs));
    let shape = [u64::from(n_outputs), u64::from(n_features)];
    let mut file = new_file();
    let coef = file.array("coef", Dtype::F64, &shape, bytemuck::cast_slice(&coef));
    let intercept = file.array("intercept", Dtype::F64, &shape[..1], bytemuck::cast_slice(&intercept));
    let estimator = "Ridge".to_owned();
    file.finish(Op::LinearRegressor {
        estimator,
        n_features,
        n_outputs,
        coef,
        intercept,
        flat: false,
        float32: false,
    })
}

fn rows(n: usize, columns: u32) -> Array2<f32> {
    let mut noise = Noise(3);
    Array2::from_shape_simple_fn((n, columns as usize), || noise.float())
}

fn predict(c: &mut Criterion, name: &str, model: &Model<AlignedBytes>, columns: u32) {
    model.checked_plan().unwrap();
    let mut group = c.benchmark_group(name);
    for n in [1, 16, 1000] {
        let x = rows(n, columns);
        let options = RunOptions { threads: Some(1), ..RunOptions::default() };
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n), &x, |b, x| {
            b.iter(|| black_box(model.run(Method::Predict, x, &options).unwrap()));
        });
    }
}

fn trees(c: &mut Criterion) {
    predict(c, "deep forest, 100 trees of depth 14", &forest(100, 14), FEATURES);
    predict(c, "forest of 100 trees of depth 12", &forest(100, 12), FEATURES);
    predict(c, "shallow forest, 500 trees of depth 6", &forest(500, 6), FEATURES);
    predict(c, "boosted, 500 trees of depth 5", &boosted(500, 5), FEATURES);
}

fn products(c: &mut Criterion) {
    predict(c, "linear, 1000 features", &linear(1000, 1), 1000);
    predict(c, "linear, 100 features, 10 outputs", &linear(100, 10), 100);
}

fn first_check(c: &mut Criterion) {
    let mut group = c.benchmark_group("first check of 819,100 nodes");
    group.throughput(Throughput::Elements(819_100));
    group.bench_function("checked_plan", |b| {
        b.iter_batched(
            || forest(100, 12),
            |model| model.checked_plan().map(|_| ()),
            criterion::BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, trees, products, first_check);
criterion_main!(benches);
