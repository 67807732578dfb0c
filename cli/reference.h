/* What is generated from the table of commands besides --help: bash completion, the reference page
 * (Markdown), the man page (man(7)). Appends to the buffer; the same table gives the same bytes, so
 * that the committed copies in doc/ are compared in a test. */
#ifndef KL_CLI_REFERENCE_H
#define KL_CLI_REFERENCE_H

#include "base/buf.h"

/** A script for bash that offers nouns, verbs, options, their choices, and files where a file is
 * meant. */
void kl_completion_bash(struct kl_buf *out);
void kl_reference_markdown(struct kl_buf *out);
void kl_reference_man(struct kl_buf *out);

#endif
