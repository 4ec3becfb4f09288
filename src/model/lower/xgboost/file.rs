//! What XGBoost saves: the parts of its schema that a prediction needs, from JSON or UBJSON.
#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::model::lower::Refusal;
use crate::model::lower::xgboost::ubjson;

/// A model file, or the snapshot in a pickle: a model and how it was trained.
#[derive(Deserialize)]
struct Saved {
    learner: Option<Learner>,
    #[serde(rename = "Model")]
    model: Option<ModelFile>,
    #[serde(rename = "Config")]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct ModelFile {
    learner: Learner,
}

#[derive(Deserialize)]
struct Config {
    learner: Configured,
}

#[derive(Deserialize)]
struct Configured {
    objective: Option<Objective>,
}

/// A trained model.
#[derive(Deserialize)]
pub(super) struct Learner {
    #[serde(default)]
    pub attributes: Attributes,
    /// None if it was trained without names.
    #[serde(default)]
    pub feature_names: Vec<String>,
    pub gradient_booster: GradientBooster,
    pub learner_model_param: LearnerParam,
    pub objective: Objective,
}

#[derive(Default, Deserialize)]
pub(super) struct Attributes {
    pub best_iteration: Option<Text<u32>>,
}

#[derive(Deserialize)]
pub(super) struct Objective {
    pub name: String,
}

#[derive(Deserialize)]
pub(super) struct LearnerParam {
    /// A number, or from 3.1 on a list of them: `[5E-1]`.
    pub base_score: String,
    pub num_class: Text<u32>,
    pub num_feature: Text<u32>,
    pub num_target: Option<Text<u32>>,
}

#[derive(Deserialize)]
pub(super) struct GradientBooster {
    pub name: String,
    model: Option<Model>,
    /// The trees of `dart`.
    gbtree: Option<Within>,
    pub weight_drop: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Within {
    model: Model,
}

impl GradientBooster {
    /// The trees, wherever they are.
    pub(super) fn model(&mut self) -> Option<Model> {
        self.model.take().or_else(|| Some(self.gbtree.take()?.model))
    }
}

#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(default)]
    pub gbtree_model_param: ModelParam,
    #[serde(default)]
    pub tree_info: Vec<i64>,
    #[serde(default)]
    pub trees: Vec<Tree>,
}

#[derive(Default, Deserialize)]
pub(super) struct ModelParam {
    pub num_parallel_tree: Option<Text<u32>>,
}

/// A tree, one value per node in each list.
#[derive(Deserialize)]
pub(super) struct Tree {
    pub tree_param: TreeParam,
    pub left_children: Vec<i64>,
    pub right_children: Vec<i64>,
    pub split_indices: Vec<i64>,
    /// Thresholds, and the values of leaves.
    pub split_conditions: Vec<f32>,
    pub default_left: Vec<Flag>,
    #[serde(default)]
    pub sum_hessian: Vec<f32>,
    /// 1: by category. Absent before 1.3.
    #[serde(default)]
    pub split_type: Vec<i64>,
    /// Categories that go right, those of one node after another.
    #[serde(default)]
    pub categories: Vec<i64>,
    #[serde(default)]
    pub categories_nodes: Vec<i64>,
    #[serde(default)]
    pub categories_segments: Vec<i64>,
    #[serde(default)]
    pub categories_sizes: Vec<i64>,
}

#[derive(Deserialize)]
pub(super) struct TreeParam {
    pub size_leaf_vector: Option<Text<u32>>,
}

/// Reads a model file, or the snapshot that a pickle holds.
pub(super) fn read(bytes: &[u8]) -> Result<Learner, Refusal> {
    let saved: Saved = match bytes {
        [b'{', b'"' | b' ' | b'\n' | b'\r' | b'\t' | b'}', ..] => {
            serde_json::from_slice(bytes).map_err(|error| unreadable("JSON", &error))?
        }
        [b'{', ..] => ubjson::from_slice(bytes).map_err(|error| unreadable("UBJSON", &error))?,
        _ => {
            return Err(Refusal::uncovered(
                "it is in the binary format of XGBoost before 2.1; load it with the XGBoost that wrote it and use \
                 save_model with a name that ends in .ubj or .json",
            ));
        }
    };
    let learner = saved.model.map(|model| model.learner).or(saved.learner);
    let learner = learner.ok_or_else(|| Refusal::uncovered("its booster holds no `learner`"))?;
    let trained = saved.config.and_then(|config| config.learner.objective);
    match trained.filter(|trained| trained.name != learner.objective.name) {
        Some(other) => Err(Refusal::uncovered(format!(
            "its objective is `{}` in the model and `{}` in the configuration",
            learner.objective.name, other.name
        ))),
        None => Ok(learner),
    }
}

fn unreadable(format: &str, error: &dyn fmt::Display) -> Refusal {
    Refusal::uncovered(format!("its booster is not {format} as XGBoost writes it: {error}"))
}

/// A number, or the text of one.
#[derive(Clone, Copy)]
pub(super) struct Text<T>(pub T);

impl<'de, T: FromStr> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or the text of one")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        text.parse().map(Text).map_err(|_| E::custom(format!("`{text}` is not a number that fits")))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Text<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Text<T>, E> {
        self.visit_str(&value.to_string())
    }
}

/// `true` or `false`, or 1 or 0 as newer versions write it.
#[derive(Clone, Copy)]
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bool")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Flag, E> {
        Ok(Flag(value != 0))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
        Ok(Flag(value != 0))
    }
}
