-- The manners of a conversation: what a person may tell us beside what they tell their agent.

-- Who is asked for a confirmation, and who leaves for good.
alter table tenant add column asked_until timestamptz;
alter table tenant add column leaves_by timestamptz;
create index tenant_leaving on tenant (leaves_by) where leaves_by is not null;
comment on column tenant.status is 'refused: came when the limit for new people was reached; becomes active when there is room. opted_out: wrote STOP; hears nothing until they write START.';
comment on column tenant.asked_until is 'Until then the one word that we asked for deletes all that we have of them; null: we did not ask.';
comment on column tenant.leaves_by is 'They had all of theirs deleted: done as soon as our last message is out, and at this time whatever became of that.';

alter table turn add column stop_asked_at timestamptz;
comment on column turn.stop_asked_at is 'When the person asked that it ends: from then on nothing of it is sent, and whoever holds it stops the agent.';
comment on column turn.outcome is 'answered, silent, gave_way, stopped, or why it was buried.';

comment on column inbox.run_after is 'Not before then. Of a message that waits for its turn: until then the person may write on, and it becomes one turn.';
comment on column inbox.outcome is 'How: that of its turn; or refused, over_limit, opted_out, erased, restored, unsupported, empty, noted, taken_back, receipt, rekeyed, unknown, unknown_line; of a command: stop, fresh, help, opt_out, opt_in, delete_asked, delete_confirmed.';

-- What we say to somebody who leaves is the only thing they still get.
alter table outbox drop constraint outbox_class_check;
alter table outbox add constraint outbox_class_check check (class in ('reply', 'proactive', 'ours', 'farewell'));
comment on column outbox.class is 'reply: of the agent to the person; proactive: of the agent, unasked; ours: our own sentences; farewell: ours, to somebody who leaves.';
