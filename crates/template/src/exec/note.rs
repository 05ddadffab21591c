//! What a run notes about itself, if somebody wants to know. Without a trace each of these is one comparison.

use super::State;
use crate::ast::{Branch, BranchKind, Pipe};
use crate::function::Function;
use crate::trace::{Depth, StepData};
use crate::value::{Map, Value};

impl<'t> State<'_, 't> {
    /// Where in the record of what was read the run stands.
    pub(super) fn mark(&mut self) -> u32 {
        self.budget.trace.as_mut().map_or(0, |trace| trace.mark())
    }

    /// The step of a statement that has been carried out.
    fn step_of(&mut self, pos: usize, action: Option<String>, from: u32) -> Option<u32> {
        let within = self.within;
        let trace = self.budget.trace.as_mut()?;
        let to = trace.mark();
        trace.step(StepData {
            template: self.tree.name.clone(),
            source: self.tree.file.clone(),
            pos,
            action,
            within,
            reads: (from, to),
        })
    }

    pub(super) fn note_text(&mut self, pos: usize, text: &str) {
        if self.budget.trace.is_none() {
            return;
        }
        let mark = self.mark();
        if let Some(step) = self.step_of(pos, None, mark) {
            self.lines.wrote(text, step, true, None);
        }
    }

    /// An action has printed what stands from `start` on.
    pub(super) fn note_action(&mut self, pipe: &Pipe, value: &Value, mark: u32, start: usize) {
        if self.budget.trace.is_none() {
            return;
        }
        let action = format!("{{{{ {} }}}}", self.code.show(pipe));
        let Some(step) = self.step_of(pipe.pos as usize, Some(action), mark) else {
            return;
        };
        let inner = match (value, &self.budget.trace) {
            (Value::Str(text), Some(trace)) => trace.lines_of(text),
            _ => None,
        };
        let inner = inner.as_deref().map(Vec::as_slice);
        self.lines.wrote(&self.out[start..], step, false, inner);
    }

    /// A condition or loop has been decided; what follows stands within it.
    pub(super) fn note_branch(&mut self, branch: &Branch, value: &Value, mark: u32, depth: Depth) {
        if self.budget.trace.is_none() {
            return;
        }
        self.note_value(value, depth);
        let word = match branch.kind {
            BranchKind::If => "if",
            BranchKind::Range => "range",
            BranchKind::With => "with",
        };
        let action = format!("{{{{ {word} {} }}}}", self.code.show(self.code.pipe(branch.pipe)));
        self.within = self.step_of(branch.pos as usize, Some(action), mark);
    }

    /// A value was looked at.
    pub(super) fn note_value(&mut self, value: &Value, depth: Depth) {
        if let Some(trace) = &mut self.budget.trace {
            trace.value(value, depth);
        }
    }

    /// A key of a map was looked up.
    pub(super) fn note_entry(&mut self, map: &Map, key: &str) {
        if let Some(trace) = &mut self.budget.trace {
            trace.entry(map, key);
        }
    }

    /// A function is about to get these arguments.
    pub(super) fn note_arguments(&mut self, function: &Function, arguments: &[Value]) {
        if let Some(trace) = &mut self.budget.trace {
            trace.arguments(function.reads, arguments);
        }
    }

    /// A function has made a value of these arguments.
    pub(super) fn note_made(&mut self, result: &Value, arguments: &[Value]) {
        if let Some(trace) = &mut self.budget.trace {
            trace.made(result, arguments);
        }
    }

    /// The variable at this index of the stack was set by what was read since the mark.
    pub(super) fn note_set(&mut self, index: usize, mark: u32) {
        if self.budget.trace.is_some() {
            let now = self.mark();
            if self.set_by.len() <= index {
                self.set_by.resize(index + 1, (0, 0));
            }
            self.set_by[index] = (mark, now);
        }
    }

    /// The variable at this index of the stack is read.
    pub(super) fn note_variable(&mut self, index: usize) {
        if let Some(trace) = &mut self.budget.trace
            && let Some(range) = self.set_by.get(index)
        {
            trace.again(*range);
        }
    }
}
