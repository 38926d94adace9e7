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
