//! The tables of jobs.
//!
//! No column is ever NULL: an absent text is empty, an absent time 0. Keys made of several columns stand in for indices,
//! which the three databases do not declare alike.

use crate::state::Migration;

/// The tables of jobs.
pub(crate) const MIGRATION: Migration = Migration {
    name: "jobs",
    statements: &[
        // One row is the turn of whoever writes, and the number of the newest change; another numbers the runs.
        "CREATE TABLE IF NOT EXISTS jobs_sequence (name {key} NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
        "INSERT INTO jobs_sequence (name, value) SELECT 'change', 0 FROM (SELECT 1 AS one) AS t
         WHERE NOT EXISTS (SELECT 1 FROM jobs_sequence WHERE name = 'change')",
        "INSERT INTO jobs_sequence (name, value) SELECT 'run', 0 FROM (SELECT 1 AS one) AS t
         WHERE NOT EXISTS (SELECT 1 FROM jobs_sequence WHERE name = 'run')",
        "CREATE TABLE IF NOT EXISTS jobs_pipeline (
            name {key} NOT NULL PRIMARY KEY, definition {text} NOT NULL, fingerprint {key} NOT NULL,
            defined_ms BIGINT NOT NULL)",
        // Which run of a pipeline succeeded last, and which one was taken up by the pipeline that follows it.
        "CREATE TABLE IF NOT EXISTS jobs_following (
            pipeline {key} NOT NULL, before_it {key} NOT NULL, newest BIGINT NOT NULL, taken BIGINT NOT NULL,
            PRIMARY KEY (before_it, pipeline))",
        "CREATE TABLE IF NOT EXISTS jobs_run (
            id BIGINT NOT NULL PRIMARY KEY, pipeline {key} NOT NULL, definition {text} NOT NULL,
            parameters {text} NOT NULL, seed BIGINT NOT NULL, urgency BIGINT NOT NULL, state {key} NOT NULL,
            asked_by {text} NOT NULL, reason {text} NOT NULL, origin BIGINT NOT NULL, once {key} NOT NULL,
            cancel BIGINT NOT NULL, error {text} NOT NULL, created_ms BIGINT NOT NULL, started_ms BIGINT NOT NULL,
            finished_ms BIGINT NOT NULL, seq BIGINT NOT NULL,
            UNIQUE (once), UNIQUE (state, pipeline, urgency, id), UNIQUE (seq, id))",
        "CREATE TABLE IF NOT EXISTS jobs_step (
            run BIGINT NOT NULL, step {key} NOT NULL, place BIGINT NOT NULL, state {key} NOT NULL, attempt BIGINT NOT NULL,
            failures BIGINT NOT NULL, losses BIGINT NOT NULL, fresh BIGINT NOT NULL, wait_ms BIGINT NOT NULL,
            due_ms BIGINT NOT NULL, fence BIGINT NOT NULL, owner {key} NOT NULL, cache_key {key} NOT NULL,
            output {key} NOT NULL, data {text} NOT NULL, folder {text} NOT NULL, files {text} NOT NULL,
            taken_from BIGINT NOT NULL, error {text} NOT NULL, done BIGINT NOT NULL, total BIGINT NOT NULL,
            message {text} NOT NULL, started_ms BIGINT NOT NULL, finished_ms BIGINT NOT NULL, seq BIGINT NOT NULL,
            PRIMARY KEY (run, step), UNIQUE (owner, state, run, step), UNIQUE (seq, run, step))",
        "CREATE TABLE IF NOT EXISTS jobs_attempt (
            run BIGINT NOT NULL, step {key} NOT NULL, attempt BIGINT NOT NULL, fence BIGINT NOT NULL,
            worker {key} NOT NULL, ending {key} NOT NULL, error {text} NOT NULL, started_ms BIGINT NOT NULL,
            finished_ms BIGINT NOT NULL, PRIMARY KEY (run, step, attempt))",
        "CREATE TABLE IF NOT EXISTS jobs_line (
            run BIGINT NOT NULL, step {key} NOT NULL, line BIGINT NOT NULL, attempt BIGINT NOT NULL,
            at_ms BIGINT NOT NULL, level {key} NOT NULL, message {text} NOT NULL, PRIMARY KEY (run, step, line))",
        // The cache: the newest success of a step with these inputs.
        "CREATE TABLE IF NOT EXISTS jobs_result (
            cache_key {key} NOT NULL PRIMARY KEY, run BIGINT NOT NULL, step {key} NOT NULL, made_ms BIGINT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS jobs_worker (
            id {key} NOT NULL PRIMARY KEY, host {key} NOT NULL, pid BIGINT NOT NULL, process_start BIGINT NOT NULL,
            beat BIGINT NOT NULL, ended BIGINT NOT NULL, started_ms BIGINT NOT NULL, beat_ms BIGINT NOT NULL,
            UNIQUE (ended, id))",
        "CREATE TABLE IF NOT EXISTS jobs_schedule (
            name {key} NOT NULL PRIMARY KEY, pipeline {key} NOT NULL, parameters {text} NOT NULL, cron {text} NOT NULL,
            zone {key} NOT NULL, missed {key} NOT NULL, paused BIGINT NOT NULL, after_ms BIGINT NOT NULL,
            asked_by {text} NOT NULL, created_ms BIGINT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS jobs_firing (
            schedule {key} NOT NULL, fire_ms BIGINT NOT NULL, run BIGINT NOT NULL, PRIMARY KEY (schedule, fire_ms))",
    ],
};
