"""The world at its outermost edge, scripted: a GPU driver, a powercap tree, clocks."""
