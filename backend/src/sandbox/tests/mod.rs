//! Reconcile stories over an engine in memory.
