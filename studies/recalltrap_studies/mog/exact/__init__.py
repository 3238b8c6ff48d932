"""Expectations under a mixture of Gaussians, closed or by quadrature to a stated error."""
