//! All mutants of a file in one text, each behind a switch.
//!
//! `a == b` becomes `(if crate::mutant::is(7) { a != b } else { a == b })`. Only one is ever chosen, so what stands in a
//! changed branch is the text as it was: a switch within it could not be on.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use crate::{
    list::{Genre, Mutant, Place},
    places::Site,
};

/// A text with its switches.
pub(crate) struct Woven {
    pub(crate) text: String,
    /// Which mutants made which bytes of it.
    regions: Vec<(Range<usize>, Vec<u32>)>,
}

impl Woven {
    /// Whom an error in these bytes is the fault of; nobody's where the text is as it was.
    pub(crate) fn blamed(&self, bytes: &Range<usize>) -> &[u32] {
        let around = self.regions.iter().filter(|(region, _)| region.start <= bytes.start && bytes.end <= region.end);
        around.min_by_key(|(region, _)| region.len()).map_or(&[], |(_, ids)| ids)
    }
}

/// Weaves mutants into the text of their file; those whose place is not among the sites are left out.
pub(crate) fn weave(text: &str, sites: &BTreeMap<(Genre, Place), Site>, mutants: &[&Mutant]) -> Woven {
    let mut edits: BTreeMap<_, Edit<'_>> = BTreeMap::new();
    for mutant in mutants {
        let Some(site) = sites.get(&(mutant.genre, mutant.span.start)) else { continue };
        let range = site.range();
        // What surrounds comes before what is within.
        let order = (range.start, !range.is_empty(), Reverse(range.end), !matches!(site, Site::Arm { .. }));
        edits.entry(order).or_insert_with(|| Edit { range, changes: Vec::new() }).changes.push((mutant, site));
    }
    let edits: Vec<Edit<'_>> = edits.into_values().collect();
    let mut weaver = Weaver { text, edits: &edits, out: String::new(), regions: Vec::new() };
    weaver.render(0..text.len(), 0);
    Woven { text: weaver.out, regions: weaver.regions }
}

/// One place that is written anew, and how it may be changed.
struct Edit<'m> {
    range: Range<usize>,
    changes: Vec<(&'m Mutant, &'m Site)>,
}

struct Weaver<'e> {
    text: &'e str,
    edits: &'e [Edit<'e>],
    out: String,
    regions: Vec<(Range<usize>, Vec<u32>)>,
}

impl Weaver<'_> {
    /// Writes a range with the edits in it, of those from this one on.
    fn render(&mut self, range: Range<usize>, from: usize) {
        let mut at = range.start;
        for (index, edit) in self.edits.iter().enumerate().skip(from) {
            if edit.range.start >= at && edit.range.end <= range.end {
                self.out += &self.text[at..edit.range.start];
                let begun = self.out.len();
                self.edit(edit, index + 1);
                let ids = edit.changes.iter().map(|(mutant, _)| mutant.id).collect();
                self.regions.push((begun..self.out.len(), ids));
                at = edit.range.end;
            }
        }
        self.out += &self.text[at..range.end];
    }

    fn edit(&mut self, edit: &Edit<'_>, inner: usize) {
        let whole = edit.range.clone();
        match edit.changes[0].1 {
            Site::Body(_) => {
                for (mutant, _) in &edit.changes {
                    self.change(mutant, &format!("return {};", mutant.replacement), "");
                }
            }
            Site::Arm { guard, .. } => self.arm(edit, guard.as_ref(), inner),
            _ => {
                self.out += "(";
                for (mutant, site) in &edit.changes {
                    let changed = self.changed(mutant, site);
                    self.change(mutant, &changed, " else ");
                }
                self.out += "{ ";
                self.render(whole, inner);
                self.out += " })";
            }
        }
    }

    /// An arm that is taken away never matches: what matched it goes on to the later ones.
    fn arm(&mut self, edit: &Edit<'_>, guard: Option<&Range<usize>>, inner: usize) {
        if guard.is_none() {
            self.out += " if ";
        }
        for (mutant, _) in &edit.changes {
            let value = if mutant.genre == Genre::MatchArm { "false" } else { &mutant.replacement };
            self.change(mutant, value, " else ");
        }
        self.out += "{ ";
        match guard {
            Some(guard) => self.render(guard.clone(), inner),
            None => self.out += "true",
        }
        self.out += " }";
    }

    /// The text that a change makes of its place.
    fn changed(&self, mutant: &Mutant, site: &Site) -> String {
        let (whole, gone) = match site {
            Site::Binary { whole, operator } => (whole, operator.clone()),
            Site::Unary { whole, operand } => (whole, whole.start..operand.start),
            Site::Field { whole, field } => (whole, field.clone()),
            Site::Body(_) | Site::Arm { .. } => return String::new(),
        };
        format!("{}{}{}", &self.text[whole.start..gone.start], mutant.replacement, &self.text[gone.end..whole.end])
    }

    fn change(&mut self, mutant: &Mutant, text: &str, behind: &str) {
        let begun = self.out.len();
        self.out += &format!("if crate::mutant::is({}) {{ {text} }}", mutant.id);
        self.regions.push((begun..self.out.len(), vec![mutant.id]));
        self.out += behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{list::Span, places::sites};

    const TEXT: &str = "\
fn taken(state: &State, by: u8) -> bool {
    match state.owner {
        Some(owner) if owner == by => !state.lost && by != 0,
        None => false,
        _ => true,
    }
}

fn made() -> State {
    State { lost: true, ..State::new() }
}
";

    /// What cargo-mutants would say of the first place at which `at` stands.
    fn mutant(id: u32, genre: Genre, at: &str, replacement: &str) -> Mutant {
        let before = &TEXT[..TEXT.find(at).expect("it stands there")];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&sign| sign != '\n').count() + 1;
        let start = Place { line, column };
        let (name, file) = (format!("core/src/x.rs:{line}:{column}: {at}"), "core/src/x.rs".to_owned());
        Mutant { id, name, file, genre, replacement: replacement.to_owned(), span: Span { start, end: start } }
    }

    fn woven(mutants: &[Mutant]) -> Woven {
        weave(TEXT, &sites(TEXT).expect("it is Rust"), &mutants.iter().collect::<Vec<_>>())
    }

    fn line_of(woven: &Woven, with: &str) -> String {
        woven.text.lines().find(|line| line.contains(with)).unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn every_kind_has_its_switch() {
        let table = [
            (mutant(1, Genre::FnValue, "match", "false"), "if crate::mutant::is(1) { return false; }"),
            (mutant(2, Genre::BinaryOperator, "!= 0", "=="), "(if crate::mutant::is(2) { by == 0 } else { by != 0 })"),
            (
                mutant(3, Genre::UnaryOperator, "!state", ""),
                "(if crate::mutant::is(3) { state.lost } else { !state.lost })",
            ),
            (
                mutant(4, Genre::MatchArmGuard, "owner == by", "true"),
                "Some(owner) if if crate::mutant::is(4) { true } else { owner == by } =>",
            ),
            (
                mutant(5, Genre::MatchArm, "None", ""),
                "None if if crate::mutant::is(5) { false } else { true } => false,",
            ),
        ];
        for (mutant, wanted) in table {
            let woven = woven(std::slice::from_ref(&mutant));
            assert!(woven.text.contains(wanted), "{}", woven.text);
            syn::parse_file(&woven.text).expect("still Rust");
        }
    }

    #[test]
    fn a_switch_within_another_stands_in_what_is_left_as_it_was() {
        let both = [mutant(1, Genre::BinaryOperator, "&&", "||"), mutant(2, Genre::UnaryOperator, "!state", "")];
        let wanted = "(if crate::mutant::is(1) { !state.lost || by != 0 } else { (if crate::mutant::is(2) { state.lost } else \
             { !state.lost }) && by != 0 })";
        assert!(line_of(&woven(&both), "is(1)").contains(wanted), "{}", woven(&both).text);
        let two_of_a_place = [
            mutant(1, Genre::BinaryOperator, "!= 0", "=="),
            mutant(2, Genre::BinaryOperator, "!= 0", ">"),
            mutant(3, Genre::MatchArmGuard, "owner == by", "false"),
            mutant(4, Genre::MatchArm, "Some(owner)", ""),
            mutant(5, Genre::BinaryOperator, "== by", "!="),
        ];
        let woven = woven(&two_of_a_place);
        let wanted = "(if crate::mutant::is(1) { by == 0 } else if crate::mutant::is(2) { by > 0 } else { by != 0 })";
        assert!(woven.text.contains(wanted), "{}", woven.text);
        assert!((1..=5).all(|id| woven.text.matches(&format!("is({id})")).count() == 1), "{}", woven.text);
        syn::parse_file(&woven.text).expect("still Rust");
    }

    #[test]
    fn an_error_is_the_fault_of_the_smallest_part_around_it() {
        let woven =
            woven(&[mutant(1, Genre::BinaryOperator, "&&", "||"), mutant(2, Genre::UnaryOperator, "!state", "")]);
        let at = |text: &str| {
            let start = woven.text.find(text).expect("it stands there");
            start..start + text.len()
        };
        assert_eq!(woven.blamed(&at("||")), [1]);
        assert_eq!(woven.blamed(&at("{ state.lost }")), [2]);
        assert_eq!(woven.blamed(&at("!state.lost })")), [2]);
        assert_eq!(woven.blamed(&at("&& by")), [1], "of what is as it was: who has made a switch around it");
        assert_eq!(woven.blamed(&at("None => false")), [0_u32; 0]);
    }

    #[test]
    fn what_stands_nowhere_is_left_out() {
        let mut nowhere = mutant(1, Genre::BinaryOperator, "&&", "||");
        nowhere.span.start.column += 1;
        assert_eq!(woven(&[nowhere]).text, TEXT);
    }
}
