"""Every column name of the platform's own files, written once (design: contracts between the steps)."""

from __future__ import annotations

from typing import Final

# As in Personalize.
USER_ID: Final = "USER_ID"
ITEM_ID: Final = "ITEM_ID"
TIMESTAMP: Final = "TIMESTAMP"
EVENT_TYPE: Final = "EVENT_TYPE"
EVENT_VALUE: Final = "EVENT_VALUE"
IMPRESSION: Final = "IMPRESSION"
RECOMMENDATION_ID: Final = "RECOMMENDATION_ID"
EVENT_ATTRIBUTION_SOURCE: Final = "EVENT_ATTRIBUTION_SOURCE"
CREATION_TIMESTAMP: Final = "CREATION_TIMESTAMP"
ACTION_ID: Final = "ACTION_ID"
VALUE: Final = "VALUE"
TYPE: Final = "TYPE"
EXPIRATION_TIMESTAMP: Final = "EXPIRATION_TIMESTAMP"
REPEAT_FREQUENCY: Final = "REPEAT_FREQUENCY"

# Typed datasets: int64, position of the row in its import (file number << 40 | line number).
INPUT_ORDER: Final = "INPUT_ORDER"

# Sequences: one row an event, sorted by (user_row, timestamp, input order).
USER_ROW: Final = "user_row"  # int64
ITEM_ROW: Final = "item_row"  # int64; 0 = most frequent item
EVENT_TIME: Final = "timestamp"  # int64, UTC epoch seconds
SESSION_START: Final = "session_start"  # bool: first event of a session
EVENT_TYPE_CODE: Final = "event_type"  # int32, position in the manifest's facts["event_types"]

# Catalogue and users tables.
NUM_EVENTS: Final = "num_events"  # int64
NUM_USERS: Final = "num_users"  # int64: distinct users of an item
NUM_SESSIONS: Final = "num_sessions"  # int64
FIRST_TIME: Final = "first_timestamp"  # int64
LAST_TIME: Final = "last_timestamp"  # int64

# User states of a solution version: score(user, item) = query · item_vector + item_bias + sparse score of the item.
QUERY: Final = "query"  # fixed_size_list<float32>[D]
SPARSE_ITEM_ROWS: Final = "sparse_item_rows"  # list<int64>
SPARSE_SCORES: Final = "sparse_scores"  # list<float32>, parallel to sparse_item_rows
# What the user did, for filters: distinct pairs of type and item, parallel lists.
PAST_ITEM_ROWS: Final = "past_item_rows"  # list<int32>
PAST_EVENT_TYPES: Final = "past_event_types"  # list<int32>, positions in the manifest's facts["event_types"]; -1 without one
PAST_RANKS: Final = "past_ranks"  # list<int32>: how many events of that type the user has that are newer
