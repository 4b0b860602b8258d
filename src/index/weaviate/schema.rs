//! The class: how it is made, and whether one that is there fits.

use serde_json::{Value, json};

use crate::index::external::collection::reserved::{CHUNK, DOCUMENT, METADATA};
use crate::index::external::typed::Fields;
use crate::settings::field_kind::FieldKind;
use crate::settings::index::Metric;

use super::filter::THERE;

/// A property that filters look into, or one that is only kept.
struct Property<'a> {
    name: &'a str,
    kind: String,
    filterable: bool,
}

/// All properties of the class.
fn properties(fields: &Fields) -> Vec<Property<'_>> {
    let kept = |name, kind: &str| Property { name, kind: kind.to_owned(), filterable: false };
    let own = [kept(DOCUMENT, "text"), kept(CHUNK, "int"), kept(METADATA, "text")];
    let there = Property { name: THERE, kind: FieldKind::Texts.to_string(), filterable: true };
    let declared =
        fields.iter().map(|field| Property { name: &field.name, kind: field.kind.to_string(), filterable: true });
    own.into_iter().chain([there]).chain(declared).collect()
}

/// The name that Weaviate gives a metric.
pub fn distance(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Dot => "dot",
        Metric::L2 => "l2-squared",
    }
}

/// The class, as it is made.
pub fn class(name: &str, metric: Metric, fields: &Fields) -> Value {
    let property = |property: &Property| {
        let mut json =
            json!({ "name": property.name, "dataType": [property.kind], "indexFilterable": property.filterable });
        if property.kind.starts_with("text") {
            json["indexSearchable"] = false.into();
            // Whole texts: the default would index words.
            json["tokenization"] = "field".into();
        }
        json
    };
    json!({
        "class": name,
        "description": "Written by Vectide.",
        "vectorizer": "none",
        "vectorIndexConfig": { "distance": distance(metric) },
        "properties": properties(fields).iter().map(property).collect::<Vec<_>>(),
    })
}

/// Whether a class that is there can be written to and searched.
///
/// # Errors
/// What it is, and what it should be.
pub fn check(class: &Value, metric: Metric, fields: &Fields) -> Result<(), String> {
    let found = class["vectorIndexConfig"]["distance"].as_str().unwrap_or("none that has no name");
    if found != distance(metric) {
        let setting = serde_json::to_value(metric).unwrap_or_default();
        return Err(format!(
            "its distance is {found}, and `index.metric` is {setting}, which is Weaviate's {}: set it to the class's, or name another class",
            distance(metric)
        ));
    }
    let there = class["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    for wanted in properties(fields) {
        let name = wanted.name;
        let Some(found) = there.iter().find(|found| found["name"] == name) else {
            return Err(format!(
                "it has no property `{name}`, and objects that are there would lack it: name another class with `index.collection`, which is \
                 then filled without embedding anything"
            ));
        };
        let kind = found["dataType"][0].as_str().unwrap_or_default();
        if kind != wanted.kind {
            return Err(format!("its property `{name}` is {kind}, and should be {}: name another class", wanted.kind));
        }
        if wanted.filterable && kind.starts_with("text") && found["tokenization"] != "field" {
            return Err(format!(
                "its property `{name}` is indexed by words, and not as a whole (`tokenization: field`): name another class"
            ));
        }
        if wanted.filterable && found["indexFilterable"] == false {
            return Err(format!(
                "its property `{name}` is not indexed for filters (`indexFilterable`): name another class"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fields() -> Fields {
        Fields::new(&serde_yaml::from_str::<BTreeMap<_, _>>("{ price: number, tags: 'text[]' }").unwrap())
    }

    #[test]
    fn a_class_that_was_made_here_fits() {
        let class = class("P", Metric::L2, &fields());
        assert_eq!(check(&class, Metric::L2, &fields()), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let made = || class("P", Metric::Cosine, &fields());
        let error = check(&made(), Metric::Dot, &fields()).unwrap_err();
        assert!(error.contains("cosine") && error.contains("dot"), "{error}");
        let last = |change: fn(&mut Value)| {
            let mut class = made();
            change(class["properties"].as_array_mut().unwrap().last_mut().unwrap());
            check(&class, Metric::Cosine, &fields()).unwrap_err()
        };
        for (error, named) in [
            (last(|property| property["name"] = "other".into()), "no property `tags`"),
            (last(|property| property["dataType"] = json!(["text"])), "`tags` is text, and should be text[]"),
            (last(|property| property["tokenization"] = "word".into()), "by words"),
            (last(|property| property["indexFilterable"] = false.into()), "indexFilterable"),
        ] {
            assert!(error.contains(named), "{error}");
        }
    }
}
