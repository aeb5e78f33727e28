// What the mesh's own names are called in front of customers.

const ACTORS = {
  conversation: ["Opening your conversation", "Opened your conversation"],
  sentiment_analyzer: ["Reading your message", "Read your message"],
  intent_analyzer: ["Working out what you need", "Worked out what you need"],
  context_retriever: ["Looking up your orders", "Looked up your orders"],
  decision_router: ["Deciding what to do", "Decided what to do"],
  execution_coordinator: ["Taking care of it", "Took care of it"],
  response_generator: ["Writing your answer", "Wrote the answer"],
  guardrail_validator: ["Checking the answer", "Checked the answer"],
  escalation_router: ["Finding someone who can help", "Looked for someone who can help"],
  response_aggregator: ["Handing it to you", "Handed it to you"],
};

const ACTIONS = {
  cancel_order: ["Order cancelled", "The order was not cancelled"],
  modify_address: ["Delivery address changed", "The address was not changed"],
  return_items: ["Return arranged", "The return was not arranged"],
  exchange_items: ["Exchange arranged", "The exchange was not arranged"],
  refund_amount: ["Refund issued", "The refund was not issued"],
  open_dispute: ["Billing check opened", "The billing check was not opened"],
  trace_parcel: ["Parcel search started", "The parcel search was not started"],
  redeliver: ["New delivery arranged", "The new delivery was not arranged"],
  password_reset: ["Password reset sent", "The password reset was not sent"],
  update_profile: ["Profile updated", "The profile was not updated"],
  goodwill_credit: ["Credit added", "The credit was not added"],
  open_ticket: ["Passed on to our team", "It could not be passed on to our team"],
};

const readable = (name) => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** Return the actor's bare name: routes may name its mailbox, `mesh.intent_analyzer`. */
const bare = (actor) => actor.slice(actor.lastIndexOf(".") + 1);

/** What an actor is doing now. */
export const doing = (actor) => ACTORS[bare(actor)]?.[0] ?? readable(bare(actor));

/** What an actor has done. */
export const done = (actor) => ACTORS[bare(actor)]?.[1] ?? readable(bare(actor));

/** What became of an action. */
export function outcome(action) {
  const known = ACTIONS[action.kind];
  if (action.ok) return known?.[0] ?? `${readable(action.kind)}: done`;
  return known?.[1] ?? `${readable(action.kind)}: not done`;
}
