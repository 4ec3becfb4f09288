//! `trusted.tsv`: the names that may be used without asking, and how.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::trust::pattern::{Arguments, split};

/// The list as people read it.
pub(super) const TEXT: &str = include_str!("../trusted.tsv");

/// How one name may be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Where in `trusted.tsv` each use stands, for the evidence.
    pub(super) uses: Vec<Use>,
}

/// One use.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// As it is written.
    pub(super) text: &'static str,
    pub(super) how: How,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum How {
    /// Anywhere a value may stand.
    Value,
    /// As this attribute of objects of this class only: `at:module.Class.attribute`.
    At(&'static str),
    /// The class of an array.
    Class,
    /// Called with such arguments.
    Call(Arguments),
    /// An instance made without `__init__`, with such arguments of `__new__`.
    New(Arguments),
    /// A state that is a dict with text keys.
    StateDict,
    /// A state that is a tuple.
    State(Arguments),
    /// `extend` or `append`.
    Items,
    /// `obj[key] = value`.
    Pairs,
}

/// The parsed list.
#[derive(Debug)]
pub(super) struct List {
    /// By module, then by name.
    entries: HashMap<&'static str, HashMap<&'static str, Entry>>,
    /// Dotted names that stand in the arguments of others.
    arguments: HashSet<String>,
    /// Old module, or old module and name, to the new one.
    aliases: HashMap<(&'static str, &'static str), (&'static str, &'static str)>,
}

/// The list, read when first needed.
pub(super) fn list() -> &'static List {
    static LIST: OnceLock<List> = OnceLock::new();
    LIST.get_or_init(|| match List::parse(TEXT) {
        Ok(list) => list,
        Err(error) => unreachable!("trusted.tsv is part of the module: {error}"),
    })
}

impl List {
    fn parse(text: &'static str) -> Result<Self, String> {
        let mut list = List { entries: HashMap::new(), arguments: HashSet::new(), aliases: HashMap::new() };
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            list.line(line).map_err(|error| format!("line {}: {error}", number + 1))?;
        }
        Ok(list)
    }

    fn line(&mut self, line: &'static str) -> Result<(), String> {
        let mut columns = line.split('\t');
        let (Some(module), Some(name), Some(uses)) = (columns.next(), columns.next(), columns.next()) else {
            return Err("expected module, name and uses, separated by tabs".to_owned());
        };
        if let Some(new) = uses.strip_prefix("now ") {
            let (new_module, new_name) = new.split_once(':').ok_or("expected `now module:name`")?;
            self.aliases.insert((module, name), (new_module, new_name));
            return Ok(());
        }
        let uses: Result<Vec<Use>, String> =
            split(uses, ' ').into_iter().filter(|text| !text.is_empty()).map(Use::parse).collect();
        let entry = Entry { uses: uses? };
        for listed in &entry.uses {
            if let How::Call(pattern) | How::New(pattern) | How::State(pattern) = &listed.how {
                self.arguments.extend(pattern.names().into_iter().map(str::to_owned));
            }
        }
        match self.entries.entry(module).or_default().insert(name, entry) {
            None => Ok(()),
            Some(_) => Err(format!("`{module} {name}` twice")),
        }
    }

    /// What a name is called today: modules move.
    pub(super) fn today<'n>(&self, module: &'n str, qualname: &'n str) -> (&'n str, &'n str) {
        if let Some(new) = self.aliases.get(&(module, qualname)) {
            return *new;
        }
        match self.aliases.get(&(module, "*")) {
            Some((new, _)) if self.entries.get(new).is_some_and(|names| names.contains_key(qualname)) => {
                (new, qualname)
            }
            _ => (module, qualname),
        }
    }

    /// All entries: module, name, uses.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'static str, &'static str, &Entry)> {
        let names = |(module, names): (&&'static str, _)| {
            let names: &HashMap<&'static str, Entry> = names;
            let module = *module;
            names.iter().map(move |(name, entry)| (module, *name, entry)).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(names)
    }

    /// Whether a name has an entry or stands in the arguments of one: the audit says where it may stand.
    pub(super) fn knows(&self, module: &str, qualname: &str) -> bool {
        self.entry(module, qualname).is_some() || self.arguments.contains(&dotted(module, qualname))
    }

    /// How a name may be used.
    pub(super) fn entry(&self, module: &str, qualname: &str) -> Option<&Entry> {
        let (module, qualname) = self.today(module, qualname);
        self.entries.get(module)?.get(qualname)
    }
}

/// The dotted name of today.
pub(super) fn dotted(module: &str, qualname: &str) -> String {
    let (module, qualname) = list().today(module, qualname);
    format!("{module}.{qualname}")
}

impl Use {
    fn parse(text: &'static str) -> Result<Self, String> {
        let inside = |start: &str| text.strip_prefix(start).and_then(|text| text.strip_suffix(')'));
        let how = match text {
            "value" => How::Value,
            "class" => How::Class,
            "items" => How::Items,
            "pairs" => How::Pairs,
            "state(dict)" => How::StateDict,
            _ => {
                if let Some(place) = text.strip_prefix("at:") {
                    How::At(place)
                } else if let Some(inside) = inside("call(") {
                    How::Call(Arguments::parse(inside)?)
                } else if let Some(inside) = inside("new(") {
                    How::New(Arguments::parse(inside)?)
                } else if let Some(inside) = inside("state(") {
                    How::State(Arguments::parse(inside)?)
                } else {
                    return Err(format!("unknown use `{text}`"));
                }
            }
        };
        Ok(Use { text, how })
    }
}
