"""All planted faults, in the order of the tables."""

from __future__ import annotations

from support.faults import FAULTS as FIRST_FAULTS
from support.faults_branches import BRANCH_FAULTS
from support.faults_sequences import SEQUENCE_FAULTS

FAULTS = FIRST_FAULTS + BRANCH_FAULTS + SEQUENCE_FAULTS
