//! The test of the tester: what must be noticed is, and what changes nothing is not.

use std::collections::BTreeSet;

use super::{mutant::of_text, operators::Change, *};

/// A script of which the sequences know every answer.
const SCRIPT: &str = "announce";

fn text() -> &'static str {
    streamkeeper::scripts().find(|(name, _)| *name == SCRIPT).expect("the script").1
}

#[test]
fn every_file_belongs_to_a_script_and_has_mutants() {
    let files = files().unwrap();
    assert!(files.len() > 30, "{files:?}");
    for file in files {
        let mutants = mutants(&file).unwrap_or_else(|error| panic!("{error}"));
        assert!(mutants.iter().any(Mutant::is_viable), "{file}");
        for mutant in mutants {
            assert_ne!(mutant.before, mutant.after, "{mutant}");
            assert!(!mutant.scripts().is_empty(), "{mutant}");
        }
    }
}

#[test]
fn every_known_survivor_is_a_mutant() {
    let known = Known::read().unwrap();
    let all = files().unwrap().into_iter().flat_map(|file| mutants(&file).unwrap());
    let changes: BTreeSet<String> = all.map(|mutant| format!("{}: {}", mutant.file, mutant.change())).collect();
    let gone: Vec<&str> = known.changes().filter(|change| !changes.contains(*change)).collect();
    assert!(gone.is_empty(), "no mutants any more, and to be taken out of survivors.txt: {gone:#?}");
    assert!(known.changes().count() > 50);
}

#[test]
fn what_must_be_noticed_is() {
    let mutants = of_text(SCRIPT, text());
    let negated = mutants.iter().find(|mutant| mutant.after == "if not (known) then return known end");
    let how = by_sequences(negated.expect("a negated condition")).expect("a reply that is another one");
    assert!(how.contains(".txt"), "the sequence is named: {how}");
    let done = super::mutants("done").unwrap();
    let unfenced = done.iter().find(|mutant| mutant.after.starts_with("if not (holder == value) then return finish"));
    let unfenced = unfenced.expect("a negated fence");
    assert!(by_exploring(unfenced).is_some());
    assert!(by_seeds(unfenced, 3).is_some());
}

#[test]
fn what_changes_nothing_is_not_noticed() {
    let (text, find) = (text(), "if known then");
    let range = text.find(find).map(|at| at..at + find.len()).expect("the condition");
    let change = Change { operator: Operator::Negate, range, with: "if not (not known) then".to_owned() };
    let same = Mutant::new(SCRIPT, 0, &text.into(), &change);
    assert_eq!(by_sequences(&same), None);
    assert_eq!(by_seeds(&same, 1), None);
}
