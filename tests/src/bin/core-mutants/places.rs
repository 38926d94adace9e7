//! Where in a file what cargo-mutants names by line and column stands, and what belongs to it.

use std::{collections::BTreeMap, ops::Range};

use syn::{spanned::Spanned, visit::Visit};

use crate::list::{Genre, Place};

/// What a mutant changes, as ranges of bytes of its file.
#[derive(Clone, Debug)]
pub(crate) enum Site {
    /// Behind the brace of a function's body.
    Body(usize),
    Binary {
        whole: Range<usize>,
        operator: Range<usize>,
    },
    Unary {
        whole: Range<usize>,
        operand: Range<usize>,
    },
    /// The guard of an arm; or where it would stand.
    Arm {
        guard: Option<Range<usize>>,
        end_of_pattern: usize,
    },
    /// One field, with its comma, of a struct's expression.
    Field {
        whole: Range<usize>,
        field: Range<usize>,
    },
}

impl Site {
    /// All that is written anew.
    pub(crate) fn range(&self) -> Range<usize> {
        match self {
            Site::Body(at) => *at..*at,
            Site::Binary { whole, .. } | Site::Unary { whole, .. } | Site::Field { whole, .. } => whole.clone(),
            Site::Arm { guard, end_of_pattern } => guard.clone().unwrap_or(*end_of_pattern..*end_of_pattern),
        }
    }
}

/// The sites of a file, by kind and by where cargo-mutants says that they begin.
pub(crate) fn sites(text: &str) -> Result<BTreeMap<(Genre, Place), Site>, String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let mut sites = Sites { found: BTreeMap::new() };
    sites.visit_file(&file);
    Ok(sites.found)
}

struct Sites {
    found: BTreeMap<(Genre, Place), Site>,
}

impl Sites {
    fn put(&mut self, genre: Genre, at: &impl Spanned, site: Site) {
        let start = at.span().start();
        self.found.insert((genre, Place { line: start.line, column: start.column + 1 }), site);
    }

    /// Not of a function that is evaluated by the compiler, nor of one whose every return must have the same hidden type.
    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let hidden =
            matches!(&signature.output, syn::ReturnType::Type(_, kind) if matches!(**kind, syn::Type::ImplTrait(_)));
        if let Some(first) = block.stmts.first().filter(|_| signature.constness.is_none() && !hidden) {
            self.put(Genre::FnValue, first, Site::Body(block.brace_token.span.open().byte_range().end));
        }
    }
}

impl<'ast> Visit<'ast> for Sites {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.body(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.body(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.body(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let operator = expr.op.span().byte_range();
        self.put(Genre::BinaryOperator, &expr.op, Site::Binary { whole: expr.span().byte_range(), operator });
        syn::visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        let operand = expr.expr.span().byte_range();
        self.put(Genre::UnaryOperator, &expr.op, Site::Unary { whole: expr.span().byte_range(), operand });
        syn::visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        let is_rest = |arm: &syn::Arm| arm.guard.is_none() && matches!(arm.pat, syn::Pat::Wild(_));
        let has_rest = expr.arms.iter().any(is_rest);
        for arm in &expr.arms {
            let guard = arm.guard.as_ref().map(|(_, guard)| guard.span().byte_range());
            let site = Site::Arm { guard, end_of_pattern: arm.pat.span().byte_range().end };
            if let Some((_, guard)) = &arm.guard {
                self.put(Genre::MatchArmGuard, guard, site.clone());
            }
            // An arm that may not match leaves a hole, unless another one takes the rest.
            if has_rest {
                self.put(Genre::MatchArm, arm, site);
            }
        }
        syn::visit::visit_expr_match(self, expr);
    }

    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        for pair in expr.fields.pairs() {
            let end = match pair.punct() {
                Some(comma) => comma.span().byte_range().end,
                None => pair.value().span().byte_range().end,
            };
            let field = pair.value().span().byte_range().start..end;
            self.put(Genre::StructField, pair.value(), Site::Field { whole: expr.span().byte_range(), field });
        }
        syn::visit::visit_expr_struct(self, expr);
    }
}

/// The bytes of a mutant's own place, for one that is planted alone.
pub(crate) fn bytes(text: &str, start: Place, end: Place) -> Range<usize> {
    let at = |place: Place| {
        let line: usize = text.split_inclusive('\n').take(place.line - 1).map(str::len).sum();
        line + text[line..].chars().take(place.column - 1).map(char::len_utf8).sum::<usize>()
    };
    at(start)..at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, genre: Genre) -> Vec<Place> {
        let sites = sites(text).expect("it is Rust");
        sites.keys().filter(|(kind, _)| *kind == genre).map(|(_, place)| *place).collect()
    }

    #[test]
    fn what_cannot_have_a_switch_is_no_site() {
        assert_eq!(found("fn f() -> u8 {\n    1\n}", Genre::FnValue), [Place { line: 2, column: 5 }]);
        for text in ["fn f() {}", "const fn f() -> u8 { 1 }", "fn f() -> impl Sized { 1 }", "trait T { fn f(); }"] {
            assert_eq!(found(text, Genre::FnValue), [], "{text}");
        }
        assert_eq!(found("fn f() { match a { 1 => 2, _ => 3 } }", Genre::MatchArm).len(), 2);
        assert_eq!(found("fn f() { match a { A => 2, B => 3 } }", Genre::MatchArm), [], "nobody takes the rest");
        assert_eq!(found("fn f() { match a { A => 2, _ if b => 3 } }", Genre::MatchArm), []);
    }

    #[test]
    fn columns_are_characters_and_bytes_are_bytes() {
        let text = "// \u{e9}\nfn f() { \"\u{e9}\" == a }";
        let [place] = found(text, Genre::BinaryOperator)[..] else { panic!("one operator") };
        assert_eq!(place, Place { line: 2, column: 14 });
        let end = Place { column: place.column + 2, ..place };
        assert_eq!(&text[bytes(text, place, end)], "==");
        assert_eq!(&text[bytes(text, Place { line: 1, column: 1 }, Place { line: 1, column: 4 })], "// ");
    }
}
