// The derivation reacts: the theorem's delta as sliders, a painted target, and the gauge as a dial.

import { fillDelta } from "./delta.js";
import { fillGauge } from "./gauge.js";
import { fillTarget } from "./target.js";

fillDelta("sigcam-delta");
fillTarget("sigcam-target");
fillGauge("sigcam-gauge");
